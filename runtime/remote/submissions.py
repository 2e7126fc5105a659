"""Runs that the service of a workspace carries out: sent, begun, followed.

    submissions = RemoteSubmissions(client)
    run = submissions.submit(config="{...}", files=[...], inputs={}, ...)
    submissions.followed(run, on_line=print)

What was begun goes on there, whatever becomes of this process and of the network.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from registry.errors import ImmutableError, WorkspaceBusyError
from registry.tracking import RunRecord
from registry.tracking.records import ENDED
from registry.tree import SourceFile
from runtime.errors import ServiceError
from runtime.remote.client import BUSY, ServiceClient
from runtime.remote.transfers import Progress, Transfers
from runtime.workspace_service.routes import run_files as of_files
from runtime.workspace_service.routes import runs as of_runs
from runtime.workspace_service.routes import submissions as routes

LOOK_S = 0.3
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
BEGIN_PATIENCE_S = 60.0
"""For a service that does not say whether the run has begun: it is asked once more, and begins it
once."""
PATIENCE_S = 600.0
"""For a service that is away while a run goes on there."""
SAID = "inferry: "
"""How lines of a run's log begin that are not its script's."""
_LINE = re.compile(rb"\S+ (.*)", re.DOTALL)
_END = re.compile(rf"(?:{'|'.join(sorted(ENDED))})(?:: .*)?", re.DOTALL)
T = TypeVar("T")
Say = Callable[[str], None]


class RemoteSubmissions:
    """Of the workspace behind one URL."""

    def __init__(self, client: ServiceClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock

    def submit(
        self,
        *,
        config: str,
        files: Mapping[str, SourceFile],
        inputs: Mapping[str, Mapping[str, SourceFile]],
        experiment: str,
        passed: Mapping[str, str] | None = None,
        name: str = "",
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        revision: str | None = None,
        on_progress: Progress | None = None,
    ) -> RunRecord:
        """Begin the run: what the service does not have of its files is uploaded. Raises what the
        service refuses, and ServiceError."""
        several = [files, *inputs.values()]
        all_files = [file for some in several for file in some.values()]
        sent = iter(Transfers(self._client).send(all_files, on_progress))
        code, *rest = [
            tuple(replace(file, path=path) for path, file in zip(some, sent, strict=False))
            for some in several
        ]
        named = dict(zip(inputs, rest, strict=True))
        id = secrets.token_hex(16)
        return self.begun(
            lambda: self._client.ask(
                routes.submit,
                id=id,
                experiment=experiment,
                config=config,
                files=code,
                inputs=named,
                passed=dict(passed or {}),
                name=name,
                parent=parent,
                tags=dict(tags or {}),
                properties=dict(properties or {}),
                revision=revision,
            )
        )

    def rerun(
        self,
        ref: str,
        *,
        target: str | None = None,
        name: str | None = None,
        passed: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Begin it once more."""
        id = secrets.token_hex(16)
        before = self._client.ask(of_runs.find, ref=ref).id
        return self.begun(
            lambda: self._client.ask(
                routes.rerun, ref=before, id=id, target=target, name=name, passed=dict(passed or {})
            )
        )

    def begun(self, ask: Callable[[], T]) -> T:
        """What the service answers to a request that it does once, however often it is asked."""
        return Patience(self._client.wait, self._clock, BEGIN_PATIENCE_S).ask(ask)

    def followed(
        self,
        run: RunRecord,
        *,
        on_line: Say = lambda line: None,
        on_note: Say = lambda line: None,
        patience_s: float = PATIENCE_S,
    ) -> RunRecord:
        """How it ended. Ctrl-C asks the service for its end; a second one leaves it alone. Raises
        ServiceError where the service was away for ``patience_s``: the run goes on."""
        patience = Patience(self._client.wait, self._clock, patience_s, on_note)
        log = RunLog(on_line, on_note)
        is_asked = is_wanted = False
        while True:
            try:
                if is_wanted and not is_asked:
                    is_asked = self.asked_to_end(run)
                found = patience.ask(lambda: self._client.ask(of_runs.get, ref=run.id))
                while data := patience.ask(lambda: self._log(run, log.offset)):
                    log.take(data)
                if found.has_ended:
                    log.end()
                    return found
                self._client.wait(LOOK_S)
            except KeyboardInterrupt:
                if is_wanted:
                    raise
                is_wanted = True
                on_note("asking the service for the run's end; Ctrl-C again leaves it alone")
            except ServiceError as error:
                if not is_away(error):
                    raise
                raise ServiceError(
                    f"run {run.reference} goes on, but the service is out of reach ({error}); see"
                    f" inferry run show {run.reference}"
                ) from error

    def _log(self, run: RunRecord, offset: int) -> bytes:
        return self._client.ask(of_files.read_log, id=run.id, offset=offset)

    def asked_to_end(self, run: RunRecord) -> bool:
        """Whether it is asked for, or needs not to be; False: ask again, the service is away."""
        try:
            with suppress(ImmutableError):
                self._client.ask(of_runs.cancel, ref=run.id)
        except (ServiceError, WorkspaceBusyError) as error:
            if isinstance(error, ServiceError) and not is_away(error):
                raise
            return False
        return True


class Patience:
    """With a service that is away, or busy, for a while."""

    def __init__(
        self,
        wait: Callable[[float], object],
        clock: Callable[[], float],
        most_s: float,
        say: Say = lambda line: None,
    ) -> None:
        self._wait, self._clock, self._most_s, self._say = wait, clock, most_s, say

    def ask(self, ask: Callable[[], T]) -> T:
        """Its answer. Raises the last error once it was away for so long."""
        since = self._clock()
        tries = 0
        while True:
            try:
                found = ask()
            except (ServiceError, WorkspaceBusyError) as error:
                is_passing = not isinstance(error, ServiceError) or is_away(error)
                if not is_passing or self._clock() - since >= self._most_s:
                    raise
                if tries == 1:
                    self._say(f"{error}; the run goes on there, trying again")
                self._wait(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
            else:
                if tries > 1:
                    self._say("the service is back")
                return found


class RunLog:
    """The lines of a run's log, without their times. How the run ended is the last one, and no line
    of its script: one that could be it waits until another follows."""

    def __init__(self, on_line: Say, on_note: Say = lambda line: None) -> None:
        self._on_line, self._on_note = on_line, on_note
        self._rest = b""
        self._held: str | None = None
        self.offset = 0
        """Bytes that came."""

    def take(self, data: bytes) -> None:
        """More of it."""
        self.offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._let_go()
            match = _LINE.fullmatch(line)
            text = (line if match is None else match[1]).decode(errors="replace")
            if _END.fullmatch(text):
                self._held = text
            else:
                self._tell(text)

    def end(self) -> None:
        """The run has ended."""
        self._held = None

    def _let_go(self) -> None:
        if self._held is not None:
            self._on_line(self._held)
            self._held = None

    def _tell(self, text: str) -> None:
        if text.startswith(SAID):
            self._on_note(text.removeprefix(SAID))
        else:
            self._on_line(text)


def is_away(error: ServiceError) -> bool:
    """Whether the service may be back in a while."""
    return error.is_passing or error.status is None or error.status in BUSY
