"""Keeps what a script says in its journal (runtime/tracking/journal.py) in the workspace.

A script may say anything: each line is checked as the tracker checks what a script in this process
says, and one that cannot be is left out and said in the run's log.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from registry import Workspace
from registry.errors import RegistryError
from registry.tracking import Life, RunRecord, Runs, Status
from registry.tracking.now import now_ms
from registry.tracking.records import ENDED
from registry.tracking.words import check_id, check_path
from registry.tree import SourceFile
from runtime.submission.downloads import Downloads, Failed, Found
from runtime.submitted.layout import CODE, FILES, OUTPUTS, RUN
from runtime.tracking.keeper import AWAY

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_CHILDREN = 10_000
RETRY_S = 1.0
OPEN_CAUSE = "the script ended without ending it"
Say = Callable[[str], None]
"""A line for the run's log."""
Ask = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Said:
    """How a run ended, as its script says."""

    status: Status
    cause: str | None
    ended_ms: int


class Kept:
    """Of one submitted run and the child runs that it makes."""

    def __init__(
        self,
        workspace: Workspace,
        run: RunRecord,
        downloads: Downloads,
        *,
        ask: Ask,
        say: Say,
        patience_s: float,
    ) -> None:
        """``patience_s``: for a workspace that is away, as while its disk is full."""
        self._workspace = workspace
        self._tracking = workspace.tracking
        self._run = run
        self._downloads = downloads
        self._ask = ask
        self._say = say
        self._patience_s = patience_s
        self._children: dict[str, Life] = {}
        self._known = {run.id}
        self._rest = b""
        self._points: dict[str, list[Any]] = {}
        self.said: Said | None = None

    def take(self, data: bytes) -> None:
        """More of the journal. Raises RegistryErrors of a workspace that cannot be written."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > MAX_LINE_BYTES:
            self._say(f"the journal has a line of more than {MAX_LINE_BYTES} bytes; it is left out")
            self._rest = b"{"  # what follows of it is no JSON
        self._write_points()

    def take_outputs(self, listed: Mapping[str, Any]) -> None:
        """Keep what is in outputs/; ``listed`` as runtime/submitted/files.py has it."""
        paths: dict[str, str] = {}
        for other in list(listed.get("others", ()))[:10]:
            self._say(
                f"left out of the run: {str(other)[:200]} is no plain file, or its name no text"
            )
        for entry in listed.get("files", ()):
            path = f"{OUTPUTS}/{entry[0]}"
            try:
                paths[check_path(path)] = f"{CODE}/{path}"
            except RegistryError as error:
                self._say(f"left out of the run: {error}")
        self._fetch(self._run.id, paths)

    def end(self, status: Status) -> None:
        """Of the child runs that the script has left open."""
        left = "failed" if status == "finished" else status
        for id, life in self._children.items():
            with suppress(RegistryError):
                self._tracking.runs.end(id, left, cause=OPEN_CAUSE, life=life)
        self._children.clear()

    def _line(self, line: bytes) -> None:
        try:
            record = json.loads(line.decode("utf-8", "surrogatepass"))
            run, kind = record["run"], record["kind"]
            if kind == "begin":
                self._patiently(lambda: self._begin(run, record))
                return
            if run not in self._known:
                raise ValueError("of a run that is not known")
            if kind == "points":
                self._points.setdefault(run, []).extend(map(_point, record["points"]))
                return
            self._write_points()
            keep = _KINDS[kind]
            self._patiently(lambda: keep(self, run, record))
        except RegistryError as error:
            if not _is_mistake(error):
                raise
            self._say(f"what the script says is left out: {error}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self._say(f"what the script says is left out: {type(error).__name__}: {error}"[:300])

    def _patiently(self, act: Callable[[], object]) -> None:
        """Again and again while the workspace is away, but for ``patience_s``: the script should
        not be ended for a disk that is full for a while. What fails has changed nothing."""
        deadline = time.monotonic() + self._patience_s
        is_said = False
        while True:
            try:
                act()
                return
            except AWAY as error:
                if time.monotonic() > deadline:
                    raise
                if not is_said:
                    is_said = True
                    self._say(f"what the script says cannot be kept now: {error}")
            self._ask({"do": "lease"})
            time.sleep(RETRY_S)

    def _write_points(self) -> None:
        points, self._points = self._points, {}
        for run, each in points.items():
            try:
                self._patiently(partial(self._tracking.runs.log, run, points=each))
            except RegistryError as error:
                if not _is_mistake(error):
                    raise
                self._say(f"{len(each)} values are left out: {error}")

    def _begin(self, run: str, record: Mapping[str, Any]) -> None:
        if record["parent"] not in self._known or run in self._known:
            raise ValueError("a child of a run that is not known")
        if len(self._known) > MAX_CHILDREN:
            raise ValueError(f"more than {MAX_CHILDREN} child runs")
        check_id(run)
        runs = Runs(self._tracking.database, self._tracking.lives, now_ms, lambda: run)
        _, life = runs.begin(
            self._run.experiment_id,
            name=record["name"],
            parent=record["parent"],
            user=record["user"],
            source=record["source"],
            started_ms=record["started_ms"],
        )
        self._known.add(run)
        self._children[run] = life

    def _value(self, run: str, record: Mapping[str, Any]) -> None:
        key, kind, at_ms, document = record["value"]
        json.loads(document)
        self._tracking.runs.log(run, values=[(key, kind, at_ms, document)])

    def _pairs(self, run: str, record: Mapping[str, Any]) -> None:
        pairs, removed = dict(record["pairs"]), list(record["removed"])
        if record["of"] == "param":
            self._tracking.runs.log(run, params=pairs)
        elif record["of"] == "tag":
            self._tracking.runs.tag(run, set=pairs, remove=removed)
        else:
            self._tracking.runs.add_properties(run, pairs)

    def _describe(self, run: str, record: Mapping[str, Any]) -> None:
        json.loads(record["environment"])
        self._tracking.runs.describe(run, environment=record["environment"])

    def _note(self, run: str, record: Mapping[str, Any]) -> None:
        for line in str(record["text"]).splitlines():
            self._say(line)

    def _files(self, run: str, record: Mapping[str, Any]) -> None:
        self._fetch(run, {check_path(path): _kept_file(kept) for path, kept in _pairs_of(record)})

    def _ended(self, run: str, record: Mapping[str, Any]) -> None:
        if record["status"] not in ENDED:
            raise ValueError("no status of an end")
        cause = None if record["cause"] is None else str(record["cause"])
        said = Said(record["status"], cause, int(record["ended_ms"]))
        if run == self._run.id:
            self.said = said
        elif run in self._children:
            life = self._children.pop(run)
            self._tracking.runs.end(
                run, said.status, cause=said.cause, ended_ms=said.ended_ms, life=life
            )

    def _fetch(self, run: str, paths: Mapping[str, str]) -> None:
        def keep(found: Found, failed: Failed) -> None:
            for path, why in failed.items():
                self._say(f"left out of the run: {path!a}: {why}")
            try:
                if found:
                    self._patiently(lambda: self._tracking.files.add(run, found))
            except RegistryError as error:
                if not _is_mistake(error):
                    raise
                self._say(f"{len(found)} files are left out of the run: {error}")
            self._drop(paths.values())

        self._downloads.add(paths, keep)

    def _drop(self, paths: Iterable[str]) -> None:
        for path in paths:
            if path.startswith(f"{RUN}/{FILES}/"):
                self._ask({"do": "drop", "name": path.rpartition("/")[2]})

    def _model(self, run: str, record: Mapping[str, Any]) -> None:
        paths = {check_path(path): _kept_file(kept) for path, kept in _pairs_of(record)}
        question = str(record["question"])

        def register(found: Found, failed: Failed) -> None:
            answer: dict[str, Any]
            try:
                if failed:
                    raise ValueError(f"{next(iter(failed.values()))}")
                model = self._registered(run, record, found)
                answer = {"name": model.name, "version": model.version, "digest": model.digest}
            except (RegistryError, ValueError, TypeError) as error:
                answer = {"error": str(error)}
                self._say(f"the model {str(record['name'])[:80]!a} is not registered: {error}")
            self._ask({"do": "answer", "question": question, "answer": answer})
            self._drop(paths.values())

        self._downloads.add(paths, register)

    def _registered(self, run: str, record: Mapping[str, Any], found: Found) -> Any:
        facts = dict(record["facts"])
        wanted = {key: facts.get(key) for key in ("tags", "properties", "description")}
        with tempfile.TemporaryDirectory(dir=_folder_of(found)) as folder:
            for path, file in found.items():
                place = Path(folder) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.root / file.path, place)
            source = Path(folder)
            if not record["is_folder"]:
                (path,) = found
                source = source / path
            return self._workspace.models.register(
                source,
                name=str(record["name"]),
                run=run,
                tags=wanted["tags"],
                properties=wanted["properties"],
                description=wanted["description"] or "",
                allow_pickle=facts.get("allow_pickle") is True,
            )


_KINDS: Mapping[str, Callable[[Kept, str, Mapping[str, Any]], None]] = {
    "value": Kept._value,
    "pairs": Kept._pairs,
    "describe": Kept._describe,
    "note": Kept._note,
    "files": Kept._files,
    "model": Kept._model,
    "end": Kept._ended,
}


def _is_mistake(error: RegistryError) -> bool:
    """Whether the script asked for what cannot be; else the workspace is away."""
    return not isinstance(error, AWAY)


def _point(given: Any) -> tuple[str, float, int | None, int]:
    key, value, step, at_ms = given
    return key, float(value), step, at_ms


def _pairs_of(record: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return dict(record["files"]).items()


def _kept_file(kept: Any) -> str:
    """Where it lies: its name is hexadecimal, and leads nowhere else."""
    name = str(kept[0])
    int(name, 16)
    if not name.isalnum():
        raise ValueError("no name of a kept file")
    return f"{RUN}/{FILES}/{name}"


def _folder_of(found: Mapping[str, SourceFile]) -> Path:
    return next(iter(found.values())).root
