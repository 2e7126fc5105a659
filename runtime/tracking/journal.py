"""Keeps a submitted run in a journal: what the run says is appended to a file, which whoever
submitted it follows. So a script needs no way to the workspace, and no package.

JOURNAL/
  context.json      which run this is, and what is known of it
  journal           one JSON object a line: {"run": ID, "kind": KIND, ...}
  files/<random>    what was uploaded, as it was then
  answers/<random>  what came of a question: a model's version
  cancel            somebody asked for the end

The only file that writes these lines; runtime/submission/kept.py reads them. Each is written whole,
under a lock, so that several processes of a script have one journal.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import tree
from registry.errors import ImmutableError, InvalidSourceError, NotFoundError
from registry.tracking import Point, RunRecord, Status, Value
from registry.tree import SourceFile
from runtime.tracking import environment
from runtime.tracking.keeper import Pairs
from runtime.tracking.remembered import Remembered, first_record

CONTEXT, LINES, FILES, ANSWERS, CANCEL = "context.json", "journal", "files", "answers", "cancel"
POINTS_A_LINE = 2000
CHUNK_BYTES = 1024 * 1024
ANSWER_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a model, as the workspace has registered it."""

    name: str
    version: int
    digest: str = ""

    @property
    def reference(self) -> str:
        """``NAME:VERSION``."""
        return f"{self.name}:{self.version}"


class Journal:
    """The folder. Raises OSError where it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def context(self) -> Mapping[str, Any]:
        """Which run this is."""
        found = json.loads((self.folder / CONTEXT).read_text(encoding="utf-8"))
        return dict(found)

    def append(self, run: str, kind: str, **facts: Any) -> None:
        """One line; on the disk when this returns."""
        line = json.dumps({"run": run, "kind": kind, **facts}, separators=(",", ":")) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(self.folder / LINES, flags, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _write_whole(handle, line.encode("utf-8", "surrogatepass"))
            os.fsync(handle)
        finally:
            os.close(handle)

    def keep(self, source: SourceFile) -> list[Any]:
        """A copy of the file: its name below files/, and its size."""
        name = secrets.token_hex(8)
        with source.open() as file, (self.folder / FILES / name).open("xb") as copy:
            while chunk := file.read(CHUNK_BYTES):
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        return [name, source.size_bytes]

    def answer(self, question: str, timeout_s: float) -> Mapping[str, Any] | None:
        """What came of it; None: nothing so far."""
        deadline = time.monotonic() + timeout_s
        while True:
            with suppress(FileNotFoundError, ValueError):
                return dict(json.loads((self.folder / ANSWERS / question).read_bytes()))
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_S)

    def is_cancelled(self) -> bool:
        """Whether somebody asked for the end."""
        return (self.folder / CANCEL).exists()


class JournalKeeper:
    """Keeps one run in a journal."""

    is_offline = False

    def __init__(
        self, journal: Journal, record: RunRecord, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.id = record.id
        self.experiment = record.experiment
        self._journal = journal
        self._said = Remembered(record)
        self._say = say

    def __repr__(self) -> str:
        return f"JournalKeeper({self.experiment!r}, id={self.id!r})"

    def record(self) -> RunRecord:
        """What was known when the script began, and what this process said since."""
        return self._said.record()

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """A line for some points, and one for each value, which may be long."""
        self._said.log(points, values)
        for start in range(0, len(points), POINTS_A_LINE):
            self._append("points", points=points[start : start + POINTS_A_LINE])
        for value in values:
            self._append("value", value=value)

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """Raises ImmutableError for a param or property that this process said otherwise."""
        if kind != "tag":
            there = self._said.pairs[kind]
            for key, value in pairs.items():
                if there.get(key, value) != value:
                    raise ImmutableError(
                        f"{kind} '{key}' is {ascii(there[key])[:80]} and cannot become"
                        f" {ascii(value)[:80]}"
                    )
        self._said.put(kind, pairs, removed)
        self._append("pairs", of=kind, pairs=dict(pairs), removed=list(removed))

    def beat(self) -> bool:
        """Whether someone asked for its end; that it lives, others see."""
        return self._journal.is_cancelled()

    def describe(self) -> None:
        """Python and packages; the git revision is known to whoever submitted it."""
        with suppress(OSError):
            self._append("describe", environment=environment.environment())

    def note(self, text: str) -> None:
        """Add lines to its log."""
        self._append("note", text=text)

    def upload(self, sources: Mapping[str, SourceFile]) -> None:
        """Copy them as they are now."""
        kept = {path: self._journal.keep(source) for path, source in sources.items()}
        self._append("files", files=kept)

    def download(self, folder: str, target: Path, force: bool) -> None:
        """They are in the workspace, to which there is no way from here."""
        raise NotFoundError("the files of a submitted run are where the script wrote them")

    def child(self, name: str, started_ms: int) -> JournalKeeper:
        """A child run of this process."""
        record = first_record(
            id=secrets.token_hex(16),
            experiment=self.experiment,
            number=0,
            name=name,
            started_ms=started_ms,
            parent=self.id,
        )
        made = JournalKeeper(self._journal, record, self._say)
        made._append(
            "begin",
            parent=self.id,
            name=name,
            started_ms=started_ms,
            user=environment.user(),
            source=environment.source(),
        )
        return made

    def metrics(self) -> dict[str, Any]:
        """What this process logged."""
        return self._said.metrics()

    def register_model(
        self, name: str, path: Path, facts: Mapping[str, Any]
    ) -> RegisteredModel | None:
        """Ask whoever submitted the run to register it, and wait for the version. Raises
        InvalidSourceError with what the workspace says against it. None: no answer so far, as
        while the connection is lost; it is registered later."""
        files = {file.path: self._journal.keep(file) for file in tree.walk(path)}
        question = secrets.token_hex(8)
        self._append(
            "model",
            question=question,
            name=name,
            files=files,
            is_folder=path.is_dir(),
            entry=path.name,
            facts=dict(facts),
        )
        answer = self._journal.answer(question, ANSWER_S)
        if answer is None:
            self._say(f"model {name} is registered as soon as the workspace hears of it")
            return None
        if "error" in answer:
            raise InvalidSourceError(str(answer["error"]))
        return RegisteredModel(str(answer["name"]), int(answer["version"]), str(answer["digest"]))

    def end(self, status: Status, cause: str | None, ended_ms: int) -> None:
        """How it ended, as it says; of the submitted run itself its process has the last word."""
        self._said.status = status
        self._append("end", status=status, cause=cause, ended_ms=ended_ms)

    def _append(self, kind: str, **facts: Any) -> None:
        self._journal.append(self.id, kind, **facts)


def open_journal(folder: str, run: str, say: Callable[[str], None]) -> JournalKeeper:
    """That of the run that this process was submitted as. Raises OSError."""
    journal = Journal(Path(folder))
    try:
        facts = journal.context()
        record = first_record(
            id=run,
            experiment=str(facts["experiment"]),
            number=int(facts["number"]),
            name=str(facts["name"]),
            started_ms=int(facts["started_ms"]),
            parent=facts.get("parent"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"the folder of $INFERRY_JOURNAL is damaged: {error}") from error
    keeper = JournalKeeper(journal, record, say)
    keeper._said.put("tag", facts.get("tags") or {})
    return keeper


def _write_whole(handle: int, data: bytes) -> None:
    """All of it; what was written of it is taken back where the disk has no room for the rest."""
    start = os.fstat(handle).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(handle, view) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, start)
        raise
