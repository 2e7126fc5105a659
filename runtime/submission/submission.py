"""One submission, from the folder to how its run ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from registry import Workspace
from registry.tracking import RunRecord
from registry.tree import SourceFile
from runtime.submission.config import RunConfig

Inputs = Mapping[str, Mapping[str, SourceFile]]
"""By name, and then by path below ``inputs/NAME``."""


def submit(
    workspace: Workspace,
    config: RunConfig,
    folder: Path,
    *,
    experiment: str,
    name: str = "",
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    inputs: Inputs | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    on_begin: Callable[[RunRecord], None] = lambda run: None,
) -> RunRecord:
    """Run ``config.script`` of ``folder`` as a run of the experiment, and wait until it has ended:
    the record says how. ``parent``: id of the run that it is a child of. What is in ``inputs`` the
    script finds in ``inputs/NAME/``, and in the folder that $INFERRY_INPUT_<NAME> says. ``on_line``
    hears what it prints, ``on_begin`` the run as soon as there is one; both on this thread.

    Ctrl-C and ``runs.cancel`` end it on the target. What cannot be submitted raises before there is
    a run: BadValueError, InvalidSourceError, NotFoundError; what goes wrong later is the cause of
    the run's end."""
    config.check()
    raise NotImplementedError
