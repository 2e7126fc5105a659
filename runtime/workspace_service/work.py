"""The port behind what takes as long as a script does: runs and pipelines that the service carries
out for clients. runtime/run_service does it in reality; whoever serves brings it along, since it
stands on this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from registry.deployments import Target
from registry.tracking import RunRecord
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.sent_file import SentFile

if TYPE_CHECKING:
    from runtime.workspace_service.call import Call
    from runtime.workspace_service.site import Site


@dataclass(frozen=True, slots=True)
class SentRun:
    """A script's folder, as uploaded files, and how it is run: ``config`` is a run configuration as
    JSON, ``passed`` the values of its ``pass_environment``, which are kept nowhere."""

    id: str
    experiment: str
    config: str
    files: tuple[SentFile, ...]
    inputs: Mapping[str, tuple[SentFile, ...]]
    passed: Mapping[str, str]
    name: str
    parent: str | None
    tags: Mapping[str, str]
    properties: Mapping[str, str]
    revision: str | None

    def __repr__(self) -> str:
        return f"SentRun({self.id!r}, {self.experiment!r}, {len(self.files)} files)"


@dataclass(frozen=True, slots=True)
class SentAgain:
    """A run once more, as ``id``."""

    id: str
    ref: str
    target: str | None
    name: str | None
    passed: Mapping[str, str]

    def __repr__(self) -> str:
        return f"SentAgain({self.id!r}, {self.ref!r})"


@dataclass(frozen=True, slots=True)
class SentPipeline:
    """A pipeline as JSON, with its parameters in place, and the files that its steps name."""

    id: str
    pipeline: str
    files: tuple[SentFile, ...]
    passed: Mapping[str, str]
    parallel: int | None
    reuse: bool

    def __repr__(self) -> str:
        return f"SentPipeline({self.id!r}, {len(self.files)} files)"


@dataclass(frozen=True, slots=True)
class SentResume:
    """How a pipeline goes on."""

    ref: str
    passed: Mapping[str, str]
    parallel: int | None
    reuse: bool

    def __repr__(self) -> str:
        return f"SentResume({self.ref!r})"


class Work(Protocol):
    """Each answers as soon as there is a run, which goes on then. What cannot be begun raises as
    here, and Fault 503 while as much goes on as may. What was begun already, under the same id and
    by the same client, is not begun again: who got no answer asks again."""

    def submit(self, call: Call, sent: SentRun) -> RunRecord:
        """A script."""
        ...

    def rerun(self, call: Call, sent: SentAgain) -> RunRecord:
        """As it was submitted before."""
        ...

    def run_pipeline(self, call: Call, sent: SentPipeline) -> RunRecord:
        """All its steps."""
        ...

    def resume_pipeline(self, call: Call, sent: SentResume) -> RunRecord:
        """What is not done of it."""
        ...

    def attach(
        self, call: Call, name: str, kind: str, settings: Mapping[str, str], *, is_asked: bool
    ) -> tuple[Target, str]:
        """A target that runs scripts only; ``is_asked``: once it answered. And what is there, in
        words."""
        ...

    def close(self) -> None:
        """What runs ends now, and says why."""
        ...


MakeWork = Callable[["Site"], Work]


class NoWork:
    """Of a service that runs nothing."""

    def submit(self, call: Call, sent: SentRun) -> RunRecord:
        """Raises Fault 404."""
        _nothing()

    def rerun(self, call: Call, sent: SentAgain) -> RunRecord:
        """Raises Fault 404."""
        _nothing()

    def run_pipeline(self, call: Call, sent: SentPipeline) -> RunRecord:
        """Raises Fault 404."""
        _nothing()

    def resume_pipeline(self, call: Call, sent: SentResume) -> RunRecord:
        """Raises Fault 404."""
        _nothing()

    def attach(
        self, call: Call, name: str, kind: str, settings: Mapping[str, str], *, is_asked: bool
    ) -> tuple[Target, str]:
        """Raises Fault 404."""
        _nothing()

    def close(self) -> None:
        """Nothing runs."""


def _nothing() -> NoReturn:
    raise Fault(404, "not_found", "this service runs no scripts and no pipelines")
