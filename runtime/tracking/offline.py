"""A run that nobody keeps: it is printed, and the script goes on."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from registry.errors import NotFoundError
from registry.tracking import Point, RunRecord, Status, Value
from registry.tree import SourceFile
from runtime.tracking.keeper import Pairs

MAX_LINES = 50
"""Of one batch: who logs a thousand values a second cannot read them."""
MAX_SHOWN_CHARS = 500
MAX_REMEMBERED = 10_000
"""Values of one name."""


class OfflineKeeper:
    """Prints one run to ``out``, by default what is standard output at the time."""

    id = "offline"
    is_offline = True

    def __init__(self, experiment: str, name: str, started_ms: int, out: TextIO | None) -> None:
        self.experiment = experiment
        self._name = name
        self._started_ms = started_ms
        self._out = out
        self._pairs: dict[Pairs, dict[str, str]] = {"param": {}, "tag": {}, "property": {}}
        self._logged: dict[str, deque[Any]] = {}
        self._status: Status = "running"

    def __repr__(self) -> str:
        return f"OfflineKeeper({self.experiment!r})"

    def record(self) -> RunRecord:
        """What would be kept."""
        return RunRecord(
            key=0,
            id=self.id,
            experiment_id=0,
            experiment=self.experiment,
            number=0,
            name=self._name,
            parent=None,
            status=self._status,
            cause=None,
            user="",
            source="",
            revision=None,
            environment=None,
            started_ms=self._started_ms,
            ended_ms=None,
            is_deleted=False,
            cancel_requested=False,
            params=self._pairs["param"],
            tags=self._pairs["tag"],
            properties=self._pairs["property"],
        )

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """Print them, of many the first."""
        lines = []
        for key, value, step, _ in points:
            self._remember(key, value)
            lines.append(f"{key} = {value:g}{'' if step is None else f' (step {step})'}")
        for key, kind, _, document in values:
            self._remember(key, json.loads(document))
            lines.append(f"{key} ({kind}) = {document}")
        more = len(lines) - MAX_LINES
        self._print([*lines[:MAX_LINES], *([f"... and {more} more"] if more > 0 else [])])

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """Print them."""
        there = self._pairs[kind]
        there.update(pairs)
        for key in removed:
            there.pop(key, None)
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
        return {
            key: each[0] if len(each) == 1 else list(each) for key, each in self._logged.items()
        }

    def register_model(self, name: str, path: Path, facts: Mapping[str, Any]) -> None:
        """Print that it is not."""
        self._print([f"model {name} is not registered: {path}"])

    def end(self, status: Status, cause: str | None, ended_ms: int) -> None:
        """Print how it ended."""
        self._status = status
        took_s = (ended_ms - self._started_ms) / 1000
        self._print([f"{status} after {took_s:.1f} s{'' if cause is None else f': {cause}'}"])

    def _remember(self, key: str, value: Any) -> None:
        self._logged.setdefault(key, deque(maxlen=MAX_REMEMBERED)).append(value)

    def _print(self, lines: Sequence[str]) -> None:
        title = f"{self.experiment}/{self._name}" if self._name else self.experiment
        text = "".join(f"[{title}] {line[:MAX_SHOWN_CHARS]}\n" for line in lines)
        out = self._out or sys.stdout
        try:
            out.write(text.encode(errors="backslashreplace").decode())
            out.flush()
        except (OSError, ValueError):
            pass  # who closed it does not want to see it
