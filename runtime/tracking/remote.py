"""Keeps a run in the workspace of a service, on another machine.

What ``write`` was given is on the service's disk when it returns: many points are one request,
which is numbered, so that one which is sent twice is there once. While the service is away, the
rest (the beginning, params, tags, notes, copies of files) is held in order and sent before anything
else when it is back. What is still held at the end of the script is kept in a folder (unsent.py).
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from registry.errors import RegistryError
from registry.git_revision import git_revision
from registry.tracking import Point, RunRecord, Status, Value
from registry.tree import SourceFile
from runtime.errors import InferryError, ServiceError
from runtime.tracking import environment
from runtime.tracking.clock import RunClock
from runtime.tracking.keeper import AWAY, Batch, Pairs
from runtime.tracking.portions import portions
from runtime.tracking.remembered import first_record
from runtime.tracking.sending import Say, add_files, is_passing, send
from runtime.tracking.service import Service
from runtime.tracking.unsent import Request, Unsent

if TYPE_CHECKING:
    from registry import Workspace
    from registry.records import Model

BEGIN = "/begun-runs"
MAX_NOTE_CHARS = 1024 * 1024
MAX_HELD = 10_000
"""Requests in memory, besides what is logged."""
END_WAIT_S = 30.0
RETRY_S = 0.5
PAUSE_S = 2.0
"""After a failure nothing that can be held is tried for so long: a script is not to wait for each
tag."""


class RemoteKeeper:
    """Keeps one run; ``is_own`` where it is this process's. ``may_wait``: nothing is raised while
    the service is away. ``held``: what goes before all else."""

    is_offline = False

    def __init__(
        self,
        service: Service,
        run: RunRecord,
        say: Say,
        *,
        is_own: bool,
        may_wait: bool = True,
        client: str | None = None,
        held: Sequence[Request] = (),
        parent: RemoteKeeper | None = None,
    ) -> None:
        self.id = run.id
        self.experiment = run.experiment
        self.end_wait_s = END_WAIT_S
        self._service = service
        self._run = run
        self._say = say
        self._is_own = is_own
        self._may_wait = may_wait
        self._parent = parent
        self._begin_with(client or secrets.token_hex(12), held)

    def __repr__(self) -> str:
        return f"RemoteKeeper({self.id!r}, held={len(self._held)})"

    def _begin_with(self, client: str, held: Sequence[Request]) -> None:
        """What belongs to one process."""
        self._pid = os.getpid()
        self._client = client
        self._number = self._done = self._notes = 0
        self._held = list(held)
        self._lock = threading.RLock()
        self._away_until_s = 0.0
        self.unsent = Unsent(self.id, str(self._service.place))

    def record(self) -> RunRecord:
        """The run as it is; what is known here of one that the service has not heard of yet."""
        with self._here():
            if self._is_unknown():
                try:
                    self._settle()
                except ServiceError:
                    return self._run
        found = self._service.ask("GET", "/run-names", {"ref": self.id}, answer=RunRecord)
        return cast(RunRecord, found)

    def write(self, points: Sequence[Point], values: Sequence[Value]) -> None:
        """On the service's disk when this returns. Who calls again after an error gives the same
        again."""
        with self._here():
            self._settle()
            requests = list(self._numbered(points, values))
            for request in requests[self._done :]:
                self._service.ask(*request)
                self._done += 1
            self._number += len(requests)
            self._done = 0

    def put(self, kind: Pairs, pairs: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """One request, now or later."""
        if kind == "param":
            self._do(("POST", f"/runs/{self.id}/params", {"params": dict(pairs)}))
        elif kind == "tag":
            given = {"set": dict(pairs), "remove": list(removed)}
            self._do(("PATCH", f"/runs/{self.id}/tags", given))
        else:
            self._do(("POST", f"/runs/{self.id}/properties", {"properties": dict(pairs)}))

    def beat(self) -> bool:
        """Say that the run lives; whether someone asked for its end."""
        with self._here():
            self._settle()
        heard = self._service.ask("POST", f"/runs/{self.id}/beat", {})
        return bool(heard["is_cancelled"])

    def describe(self) -> None:
        """Git revision of the script, Python and packages."""
        given = {
            "revision": git_revision(environment.script_folder()),
            "environment": environment.environment(),
        }
        with suppress(RegistryError, InferryError):
            self._do(("PUT", f"/runs/{self.id}/origin", given))

    def note(self, text: str) -> None:
        """Add lines to its log, now or later."""
        with self._here():
            self._notes += 1
            lines = text[:MAX_NOTE_CHARS]
            given = {"client": f"{self._client}-notes", "number": self._notes, "lines": lines}
            self._do(("POST", f"/runs/{self.id}/log", given))

    def upload(self, sources: Mapping[str, SourceFile]) -> None:
        """Keep files, all or none; copies of them, while the service is away."""
        try:
            with self._here():
                self._settle()
            add_files(self._service, self.id, sources)
        except AWAY as error:
            if not (self._may_wait and is_passing(error)):
                raise
            with self._here():
                self._hold(self.unsent.copy(sources), error)

    def download(self, folder: str, target: Path, force: bool) -> None:
        """Write the file or the files below ``folder``, with their paths below ``target``."""
        with self._workspace() as workspace:
            workspace.tracking.files.download(self.id, target, folder=folder, force=force)

    def child(self, name: str, started_ms: int) -> RemoteKeeper:
        """A child run of this process."""
        return _begun(
            self._service,
            self._run.experiment,
            name,
            self._say,
            parent=self,
            started_ms=started_ms,
            may_wait=self._may_wait,
        )

    def metrics(self) -> dict[str, Any]:
        """All that was logged, by name."""
        from runtime.tracking.logged import all_metrics

        with self._workspace() as workspace:
            return all_metrics(workspace.tracking, self.id)

    def register_model(self, name: str, path: Path, facts: Mapping[str, Any]) -> Model:
        """Upload the file or folder, as a version of a model that comes from this run."""
        with self._here():
            self._settle()
        with self._workspace() as workspace:
            return workspace.models.register(path, name=name, run=self.id, **facts)

    def end(self, status: Status, cause: str | None, ended_ms: int) -> None:
        """How it ended. A run that is not this process's own is left as it is."""
        with self._here():
            self._settle()
            if self._is_own:
                self._service.ask(*self._end(status, cause, ended_ms))
            self.unsent.forget()
            self._service.close()

    def leave(
        self, batches: Sequence[Batch], status: Status, cause: str | None, ended_ms: int
    ) -> str | None:
        """The end; where all that the service does not take now is kept, in words."""
        deadline = time.monotonic() + (0 if batches else self.end_wait_s)
        error: Exception | None = None
        while not batches:
            try:
                self.end(status, cause, ended_ms)
                return None
            except AWAY as caught:
                error = caught
            if time.monotonic() >= deadline or not is_passing(error):
                break
            time.sleep(RETRY_S)
        with self._here():
            requests = [*self._of_ancestors(), *self._held]
            for points, values in batches:
                numbered = list(self._numbered(points, values))
                requests += numbered
                self._number += len(numbered)
            if self._is_own:
                requests.append(self._end(status, cause, ended_ms))
            try:
                folder = self.unsent.keep(requests)
            except OSError as failure:
                return f"nor can it be kept here: {failure.strerror or failure}"
        self._service.close()
        return f"it is in {folder}; send it with: inferry run resend {folder}"

    # Parts.

    @contextmanager
    def _here(self) -> Iterator[None]:
        """One thread of this process at a time; what the parent of a fork holds is its own."""
        if self._pid != os.getpid():
            self._begin_with(secrets.token_hex(12), ())
        with self._lock:
            yield

    def _do(self, request: Request) -> None:
        """Now, or later where the service is away."""
        with self._here():
            if time.monotonic() < self._away_until_s and self._held:
                self._hold(request, None)
                return
            try:
                self._settle()
                self._service.ask(*request)
            except AWAY as error:
                if not (self._may_wait and is_passing(error)):
                    raise
                self._hold(request, error)

    def _hold(self, request: Request, error: Exception | None) -> None:
        if len(self._held) >= MAX_HELD:
            raise ServiceError("the service is away, and too much waits for it", is_passing=True)
        self._held.append(request)
        if error is not None:
            self._away_until_s = time.monotonic() + PAUSE_S

    def _settle(self) -> None:
        """Send what is held, in order. What the service will not take is said, and gone."""
        if self._parent is not None:
            with self._parent._here():
                self._parent._settle()
        while self._held:
            request = self._held[0]
            try:
                send(self._service, request, self.unsent.folder)
            except ServiceError as error:
                if error.is_passing or request[1] == BEGIN:
                    raise
                self._say(f"this cannot be kept: {error}")
            except (RegistryError, InferryError) as error:
                if isinstance(error, AWAY) or request[1] == BEGIN:
                    raise
                self._say(f"this cannot be kept: {error}")
            self._held.pop(0)

    def _is_unknown(self) -> bool:
        """Whether the service has not heard of the run."""
        return any(path == BEGIN for _, path, _ in self._held)

    def _of_ancestors(self) -> list[Request]:
        """Their beginning, without which this run cannot begin; it may be sent twice."""
        if self._parent is None or not self._is_unknown():
            return []
        theirs = [each for each in self._parent._held if each[1] == BEGIN]
        return [*self._parent._of_ancestors(), *theirs]

    def _numbered(self, points: Sequence[Point], values: Sequence[Value]) -> Iterator[Request]:
        """The same requests for the same values, so that a part which was sent is known."""
        number = self._number
        for some_points, some_values in portions(points, values):
            number += 1
            given = {
                "client": self._client,
                "number": number,
                "points": some_points,
                "values": some_values,
            }
            yield "POST", f"/runs/{self.id}/log", given

    def _end(self, status: Status, cause: str | None, ended_ms: int) -> Request:
        given = {"status": status, "cause": cause, "ended_ms": ended_ms}
        return "POST", f"/runs/{self.id}/end", given

    @contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        with open_remote(str(self._service.place)) as workspace:
            yield workspace


def begin(
    service: Service, experiment: str, name: str, say: Say, *, may_wait: bool
) -> RemoteKeeper:
    """A new run of this process. ``may_wait``: one that begins once the service is back. Raises
    ServiceError, RegistryError."""
    return _begun(service, experiment, name, say, may_wait=may_wait)


def attach(service: Service, ref: str, say: Say, *, may_wait: bool) -> RemoteKeeper:
    """A run that is there, whose end others say. Raises ServiceError, NotFoundError."""
    run = service.ask("GET", "/run-names", {"ref": ref}, answer=RunRecord)
    return RemoteKeeper(service, cast(RunRecord, run), say, is_own=False, may_wait=may_wait)


def open_remote(url: str) -> Workspace:
    """The workspace behind the URL, with all that it can; for a ``with`` block."""
    from runtime.remote.workspace import RemoteWorkspace  # 0.5 s that few scripts pay

    return cast("Workspace", RemoteWorkspace(url))


def _begun(
    service: Service,
    experiment: str,
    name: str,
    say: Say,
    *,
    may_wait: bool,
    parent: RemoteKeeper | None = None,
    started_ms: int | None = None,
) -> RemoteKeeper:
    id, client = secrets.token_hex(16), secrets.token_hex(12)
    given = {
        "id": id,
        "experiment": experiment,
        "client": client,
        "name": name,
        "parent": None if parent is None else parent.id,
        "user": environment.user(),
        "source": environment.source(),
        "started_ms": RunClock()() if started_ms is None else started_ms,
    }
    request: Request = ("POST", BEGIN, given)
    run = first_record(
        id=id,
        experiment=experiment,
        number=0,
        name=name,
        started_ms=int(cast(int, given["started_ms"])),
        parent=None if parent is None else parent.id,
    )
    made = RemoteKeeper(
        service,
        run,
        say,
        is_own=True,
        may_wait=may_wait,
        client=client,
        held=[request],
        parent=parent,
    )
    try:
        with made._here():
            made._settle()
    except AWAY as error:
        if not (may_wait and is_passing(error)):
            raise
        say(f"the service is away, and the run waits for it: {error}")
    return made
