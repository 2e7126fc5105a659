"""The port behind a run: who keeps what it says. A workspace on this machine (local.py), one behind
a service (remote.py), a journal (journal.py), or nobody (offline.py, which prints it).

Each method raises an error of ``AWAY`` where the keeper is away for now, and other RegistryErrors
where the script asked for what cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from registry.errors import (
    NoWorkspaceError,
    StoreFullError,
    WorkspaceBusyError,
    WorkspaceDamagedError,
)
from registry.tracking import Point, RunRecord, Status, Value
from registry.tree import SourceFile
from runtime.errors import ServiceError

Pairs = Literal["param", "tag", "property"]
AWAY = (
    StoreFullError,
    WorkspaceBusyError,
    WorkspaceDamagedError,
    NoWorkspaceError,
    ServiceError,
    OSError,
)
"""The workspace is away or its disk is: no fault of the script, and no reason to end it."""


class Keeper(Protocol):
    """Keeps one run."""

    id: str
    experiment: str
    is_offline: bool

    def record(self) -> RunRecord:
        """The run as it is."""
        ...

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """Keep these, all or none; they are on the disk when this returns."""
        ...

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """Set params, tags or properties, and remove tags."""
        ...

    def beat(self) -> bool:
        """Say that the run lives; whether someone asked for its end."""
        ...

    def describe(self) -> None:
        """Keep what it was started from."""
        ...

    def note(self, text: str) -> None:
        """Add lines to its log."""
        ...

    def upload(self, sources: Mapping[str, SourceFile]) -> None:
        """Keep files, all or none."""
        ...

    def download(self, folder: str, target: Path, force: bool) -> None:
        """Write the file or the files below ``folder``, with their paths below ``target``."""
        ...

    def child(self, name: str, started_ms: int) -> Keeper:
        """A child run of this process."""
        ...

    def metrics(self) -> dict[str, Any]:
        """All that was logged, by name."""
        ...

    def register_model(self, name: str, path: Path, facts: Mapping[str, Any]) -> Any:
        """Register the file or folder as a version of a model that comes from this run."""
        ...

    def end(self, status: Status, cause: str | None, ended_ms: int) -> None:
        """How it ended. A run that is not this process's own is left as it is."""
        ...


Batch = tuple[Sequence[Point], Sequence[Value]]


@runtime_checkable
class Patient(Protocol):
    """A keeper that may be away for a while, after which it takes what was held for it."""

    end_wait_s: float
    """How long the end of a script waits for it."""

    def leave(
        self, batches: Sequence[Batch], status: Status, cause: str | None, ended_ms: int
    ) -> str | None:
        """The end, instead of ``end``; ``batches`` could not be written. Where all that it does
        not take now is kept, in words; None: it took everything."""
        ...
