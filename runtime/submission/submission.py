"""One submission, from the folder to how its run ended."""

from __future__ import annotations

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from registry import Workspace
from registry.activities.log import ActivityLog
from registry.clock import utc_now
from registry.errors import CancelledError, RegistryError
from registry.tracking import Life, RunRecord, Status
from registry.tracking.words import check_experiment
from runtime.errors import BadValueError, InferryError
from runtime.submission.client import client_zip
from runtime.submission.config import RunConfig
from runtime.submission.downloads import Downloads
from runtime.submission.elsewhere import remote_of, submit_elsewhere
from runtime.submission.following import Following, Outcome
from runtime.submission.hearing import Hearing, Wanted
from runtime.submission.kept import Kept, Said
from runtime.submission.opening import fetched_folder, open_place
from runtime.submission.order import order_of
from runtime.submission.package import package
from runtime.submission.places.port import Place
from runtime.submission.preparing import Inputs, Prepared, prepare
from runtime.submitted.layout import CLIENT_ZIP, CODE_ZIP
from runtime.tracking.environment import user as this_user

TARGET = "inferry.target"
"""The property that says where a run was."""
BLOCK_BYTES = 256 * 1024
LAST_LINES = 3
LOOK_S = 0.5
MAX_LINE_CHARS = 160
_SIGNALS = {9: "SIGKILL: out of memory?", 11: "SIGSEGV", 6: "SIGABRT", 15: "SIGTERM"}


def submit(
    workspace: Workspace,
    config: RunConfig,
    folder: Path,
    *,
    experiment: str,
    name: str = "",
    parent: str | None = None,
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
    inputs: Inputs | None = None,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    on_begin: Callable[[RunRecord], None] = lambda run: None,
    on_phase: Callable[[str, int, int], None] = lambda phase, done, total: None,
    on_note: Callable[[str], None] = lambda line: None,
    why_end: Callable[[], str] = lambda: "",
    is_followed: bool = True,
) -> RunRecord:
    """Run ``config.script`` of ``folder`` as a run of the experiment, and wait until it has ended:
    the record says how. ``parent``: id of the run that it is a child of. What is in ``inputs`` the
    script finds in ``inputs/NAME/``, and in the folder that $INFERRY_INPUT_<NAME> says.
    ``environment``: what ``config.pass_environment`` names variables of; a script on this machine
    gets no others then (default: this process's, all of which it gets);
    ``user``: who it is by (default: who runs this process; a service says itself). ``on_line``
    hears what it prints, ``on_begin`` the run as soon as there is one, ``on_phase`` what is done
    before and after, in bytes, ``on_note`` what the folder's snapshot leaves out; all of it
    on this thread. ``why_end`` is asked now and then: other than "" the run fails for that reason.

    Ctrl-C and ``runs.cancel`` end it on the target. What cannot be submitted raises before there is
    a run: BadValueError, InvalidSourceError, NotFoundError, InvalidNameError; what goes wrong later
    is the cause of the run's end. That of a workspace by URL goes on there, whatever becomes of
    this process; without ``is_followed`` this returns as soon as it has begun."""
    config.check()
    check_experiment(experiment)
    prepared = prepare(
        workspace,
        config,
        folder,
        inputs=inputs or {},
        environment=os.environ if environment is None else environment,
    )
    hearing = Hearing(on_line, on_begin, on_phase, on_note)
    wanted = Wanted(experiment, name, parent, tags or {}, properties or {})
    remote = remote_of(workspace)
    if remote is not None:
        return submit_elsewhere(remote, prepared, wanted, hearing, is_followed=is_followed)
    check_followed(is_followed)
    return carry_out(
        workspace,
        prepared,
        wanted,
        hearing,
        user=user,
        why_end=why_end,
        is_bare=environment is not None,
    )


def check_followed(is_followed: bool) -> None:
    """Of a workspace here. Raises BadValueError."""
    if not is_followed:
        raise BadValueError("this process carries the run out, and stays until it has ended")


def carry_out(
    workspace: Workspace,
    prepared: Prepared,
    wanted: Wanted,
    hearing: Hearing,
    *,
    user: str | None = None,
    id: str | None = None,
    why_end: Callable[[], str] = lambda: "",
    is_bare: bool = False,
) -> RunRecord:
    """Submit what was prepared, and wait until it has ended. ``user``: who it is by (default:
    who runs this process); ``id``: of the run, that no run has; ``is_bare``: see LocalPlace."""
    for note in prepared.notes:
        hearing.note(note)
    config = prepared.config
    run, life = workspace.tracking.runs.begin(
        wanted.experiment,
        name=wanted.name,
        parent=wanted.parent,
        user=this_user() if user is None else user,
        source=config.script.rpartition("/")[2],
        tags=wanted.tags,
        properties={**wanted.properties, TARGET: config.target},
        id=id,
    )
    return _Work(workspace, config, run, life, hearing, why_end, is_bare).carry_out(prepared)


@dataclass(slots=True)
class _Work:
    """On one run of this process."""

    workspace: Workspace
    config: RunConfig
    run: RunRecord
    life: Life
    hearing: Hearing
    why_end: Callable[[], str]
    is_bare: bool = False
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    _log: ActivityLog = field(init=False)
    _kept: Kept | None = None
    _said: tuple[str, int] = ("", 0)
    _next_look: float = 0

    def carry_out(self, prepared: Prepared) -> RunRecord:
        """To the end of the run, whatever that is."""
        self._log = ActivityLog(self.workspace.tracking.lives.log(self.run.id), utc_now)
        status: Status = "failed"
        cause: str | None = "its submission ended without a word"
        try:
            self.hearing.begin(self.run)
            with suppress(RegistryError):
                self.workspace.tracking.runs.describe(self.run.id, revision=prepared.revision)
            outcome = self._on_target(prepared)
            said = None if self._kept is None else self._kept.said
            status, cause = meaning(outcome, said, list(self._last))
        except KeyboardInterrupt:
            status, cause = "killed", "interrupted"
        except CancelledError:
            status, cause = "killed", "cancelled"
        except (RegistryError, InferryError) as error:
            cause = str(error)
        except OSError as error:
            cause = error.strerror or type(error).__name__
        finally:
            if status == "killed" and (why := self.why_end()):
                status, cause = "failed", why
            self._end(status, cause)
        return self.workspace.tracking.runs.get(self.run.id)

    def _end(self, status: Status, cause: str | None) -> None:
        self._log.end(f"{status}{'' if cause is None else f': {cause}'}")
        if self._kept is not None:
            self._kept.end(status)
        self.workspace.tracking.runs.end(self.run.id, status, cause=cause, life=self.life)

    def _on_target(self, prepared: Prepared) -> Outcome:
        target = self.workspace.targets.get(self.config.target)
        place = open_place(self.workspace, self.config, target, self.run.id, is_bare=self.is_bare)
        with ExitStack() as stack:
            stack.enter_context(closing(place))
            stack.callback(place.remove)
            self._put(place, prepared)
            place.start()
            return self._follow(place)

    def _put(self, place: Place, prepared: Prepared) -> None:
        snapshots = self.workspace.tracking.snapshots
        kept = prepared.keep(
            snapshots,
            self.run.id,
            lambda done, total: self._progress("Snapshot", done, total),
        )
        requirements = b""
        if self.config.python.requirements:
            wanted = self.config.python.requirements
            (file,) = (each for each in kept.snapshot.files if each.path == wanted)
            requirements = b"".join(snapshots.chunks(file))
        order = order_of(
            self.config,
            place.traits,
            run=self.run.id,
            inputs=list(prepared.inputs),
            passed=prepared.passed,
            requirements=requirements,
        )
        zips = {}
        if place.traits.is_spark:
            with tempfile.TemporaryFile() as buffer:
                snapshots.write_zip(kept.snapshot, buffer)
                buffer.seek(0)
                zips = {CODE_ZIP: buffer.read(), CLIENT_ZIP: client_zip()}
        total = kept.snapshot.size_bytes + sum(each.size_bytes for each in kept.inputs.values())
        with snapshots.held():
            tar = package(
                kept,
                order,
                self.run,
                snapshots.chunks,
                traits=place.traits,
                zips=zips,
            )
            place.put(self._counted(tar, total))

    def _counted(self, chunks: Iterator[bytes], total: int) -> Iterator[bytes]:
        done = 0
        for block in _blocks(chunks):
            yield block
            done += len(block)
            self._progress("Copy", min(done, total), total)

    def _progress(self, phase: str, done: int, total: int) -> None:
        """Now and then: a folder has many small files. Raises CancelledError."""
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + LOOK_S
            if self._is_to_end():
                raise CancelledError("cancelled")
        percent = 100 * done // max(1, total)
        if self._said != (phase, percent):
            self._said = (phase, percent)
            self.hearing.phase(phase, done, total)

    def _follow(self, place: Place) -> Outcome:
        following = Following(
            place,
            is_cancelled=self._is_to_end,
            on_line=self._heard,
            on_phase=lambda phase: self.hearing.phase(phase.capitalize(), 0, 0),
            say=self._say,
            patience_s=self.config.patience_s,
        )
        with fetched_folder(self.workspace, self.run.id) as folder:
            downloads = Downloads(folder, following.ask)
            self._kept = Kept(
                self.workspace,
                self.run,
                downloads,
                ask=following.ask,
                say=self._say,
                patience_s=self.config.patience_s,
            )
            following.attach(downloads, self._kept)
            try:
                return following.run()
            finally:
                following.close()
                downloads.close()

    def _is_to_end(self) -> bool:
        return bool(self.why_end()) or self.workspace.tracking.runs.is_cancelled(self.run.id)

    def _heard(self, line: str) -> None:
        self._log.add(line)
        if line.strip():
            self._last.append(line)
        self.hearing.line(line)

    def _say(self, line: str) -> None:
        self._log.add(f"inferry: {line}")
        self.hearing.note(line)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in larger parts: a tar has many small ones."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        if len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def meaning(outcome: Outcome, said: Said | None, last: list[str]) -> tuple[Status, str | None]:
    """Status and cause of a run. ``said``: by the script; ``last``: lines that it printed. Pure."""
    if outcome.why == "cancelled":
        return "killed", f"cancelled{f'; {outcome.message}' if outcome.message else ''}"
    if outcome.why != "exit":
        return "failed", outcome.message or outcome.why
    if outcome.code == 0:
        if said is not None and said.status != "finished":
            return said.status, said.cause
        return "finished", None
    code = outcome.code or 0
    how = f"exit code {code}" if code > 0 else f"signal {_SIGNALS.get(-code, str(-code))}"
    if said is not None and said.cause:
        return "failed", f"{said.cause} ({how})"
    words = " | ".join(line.strip()[:MAX_LINE_CHARS] for line in last)
    return "failed", f"{how}: {words}" if words else how
