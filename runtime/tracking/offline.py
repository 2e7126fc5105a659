"""A run that nobody keeps: it is printed, and the script goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from registry.errors import NotFoundError
from registry.tracking import Point, RunRecord, Status, Value
from registry.tree import SourceFile
from runtime.tracking.keeper import Pairs
from runtime.tracking.remembered import Remembered, first_record

MAX_LINES = 50
"""Of one batch: who logs a thousand values a second cannot read them."""
MAX_SHOWN_CHARS = 500


class OfflineKeeper:
    """Prints one run to ``out``, by default what is standard output at the time."""

    id = "offline"
    is_offline = True

    def __init__(self, experiment: str, name: str, started_ms: int, out: TextIO | None) -> None:
        self.experiment = experiment
        self._name = name
        self._started_ms = started_ms
        self._out = out
        self._said = Remembered(
            first_record(
                id=self.id, experiment=experiment, number=0, name=name, started_ms=started_ms
            )
        )

    def __repr__(self) -> str:
        return f"OfflineKeeper({self.experiment!r})"

    def record(self) -> RunRecord:
        """What would be kept."""
        return self._said.record()

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """Print them, of many the first."""
        self._said.log(points, values)
        lines = []
        for key, value, step, _ in points:
            lines.append(f"{key} = {value:g}{'' if step is None else f' (step {step})'}")
        for key, kind, _, document in values:
            lines.append(f"{key} ({kind}) = {document}")
        more = len(lines) - MAX_LINES
        self._print([*lines[:MAX_LINES], *([f"... and {more} more"] if more > 0 else [])])

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """Print them."""
        self._said.put(kind, pairs, removed)
        self._print([f"{kind} {key} = {value}" for key, value in pairs.items()])

    def beat(self) -> bool:
        """Nobody asks for its end."""
        return False

    def describe(self) -> None:
        """Nothing: it is here to be seen."""

    def note(self, text: str) -> None:
        """Print the lines."""
        self._print(text.splitlines())

    def upload(self, sources: Mapping[str, SourceFile]) -> None:
        """Print what would be kept."""
        self._print([f"file {path} ({file.size_bytes} bytes)" for path, file in sources.items()])

    def download(self, folder: str, target: Path, force: bool) -> None:
        """There is nothing."""
        raise NotFoundError("an offline run has no files; they are where the script wrote them")

    def child(self, name: str, started_ms: int) -> OfflineKeeper:
        """Printed too."""
        return OfflineKeeper(self.experiment, name, started_ms, self._out)

    def metrics(self) -> dict[str, Any]:
        """What was printed."""
        return self._said.metrics()

    def register_model(self, name: str, path: Path, facts: Mapping[str, Any]) -> None:
        """Print that it is not."""
        self._print([f"model {name} is not registered: {path}"])

    def end(self, status: Status, cause: str | None, ended_ms: int) -> None:
        """Print how it ended."""
        self._said.status = status
        took_s = (ended_ms - self._started_ms) / 1000
        self._print([f"{status} after {took_s:.1f} s{'' if cause is None else f': {cause}'}"])

    def _print(self, lines: Sequence[str]) -> None:
        title = f"{self.experiment}/{self._name}" if self._name else self.experiment
        text = "".join(f"[{title}] {line[:MAX_SHOWN_CHARS]}\n" for line in lines)
        out = self._out or sys.stdout
        try:
            out.write(text.encode(errors="backslashreplace").decode())
            out.flush()
        except (OSError, ValueError):
            pass  # who closed it does not want to see it
