"""A pipeline that can be run.

read_pipeline("pipeline.yaml", {"accuracy": "0.96"}).run(workspace)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from registry import Workspace
from runtime.pipelines.event import Event
from runtime.pipelines.here import run_here
from runtime.pipelines.reading import read_spec
from runtime.pipelines.steps import PipelineSpec
from runtime.pipelines.view import PipelineView


class Pipeline(PipelineSpec, frozen=True, forbid_unknown_fields=True):
    """As PipelineSpec, which has the fields."""

    def run(
        self,
        workspace: Workspace | Path | str,
        *,
        parameters: Mapping[str, str] | None = None,
        parallel: int | None = None,
        reuse: bool = True,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> PipelineView:
        """Run it here until it has ended, and say how. Raises BadPipelineError before anything has
        run, and PipelineFailedError."""
        return run_here(
            workspace,
            self,
            parameters=parameters or {},
            parallel=parallel,
            reuse=reuse,
            on_event=on_event,
        )


def read_pipeline(path: Path | str, given: Mapping[str, str] | None = None) -> Pipeline:
    """The pipeline of a YAML or JSON file, with its parameters in their places. Raises
    BadPipelineError."""
    spec = read_spec(path, given)
    return Pipeline(**{field: getattr(spec, field) for field in spec.__struct_fields__})
