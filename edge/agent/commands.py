"""Commands of the hub: each is done once, in time or not at all, and answered.

    commands = Commands(state, {"ping": lambda arguments: "pong"}, ...)
    commands.put(payload)              # from the link's thread; returns at once
    crew.add("commands", commands.work)

A command that takes long, or hangs, has a thread of its own and holds up no other.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from edge.agent.replies import parts
from edge.agent.state import AgentState, Seen
from edge.errors import EdgeError, InvalidMessageError
from edge.messages.codec import VERSION, decode, encode
from edge.messages.commands import Command, Reply

log = logging.getLogger(__name__)
MAX_WAITING = 64
MAX_AT_ONCE = 4
TIME_KNOWN_WITHIN_S = 5.0
"""The hub tells its time when it hears that a device is there; a command may come before."""
PLACE_WITHIN_S = 20.0
"""A command waits so long for one of those under way to end, before it is refused."""
RETRY_S = 1.0
ANSWER_S = 600.0
"""For so long an answer is tried to be sent."""
MAX_ERROR = 2000
HARMLESS = frozenset({"ping", "logs", "check", "support-bundle"})
"""May be done twice, or late."""

Action = Callable[[Mapping[str, Any]], str]
"""Does it, returns the answer's text; raises EdgeError when it fails."""


class Commands:
    """``send`` hands a payload to the link and says whether that took it; ``hub_now_ms`` is the
    hub's time, None when it is not known."""

    def __init__(
        self,
        state: AgentState,
        actions: Mapping[str, Action],
        *,
        send: Callable[[bytes], bool],
        hub_now_ms: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,
        retry_s: float = RETRY_S,
        time_known_within_s: float = TIME_KNOWN_WITHIN_S,
        place_within_s: float = PLACE_WITHIN_S,
    ) -> None:
        self._state = state
        self._actions = actions
        self._send = send
        self._hub_now_ms = hub_now_ms
        self._clock = clock
        self._retry_s = retry_s
        self._time_known_within_s = time_known_within_s
        self._place_within_s = place_within_s
        self._queue: queue.Queue[bytes] = queue.Queue(MAX_WAITING)
        self._free = threading.Semaphore(MAX_AT_ONCE)
        self._under_way: set[str] = set()
        self._lock = threading.Lock()

    def put(self, payload: bytes) -> None:
        """It came. When too many wait it is dropped: the hub sees no answer, and says so."""
        try:
            self._queue.put_nowait(payload)
        except queue.Full:
            log.warning("a command was dropped: %d wait", MAX_WAITING)

    def wake(self) -> None:
        """Look whether it is the end."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(b"")

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        while not stopping.is_set():
            try:
                payload = self._queue.get(timeout=5.0)
            except queue.Empty:
                continue
            if not payload:
                continue
            try:
                command = decode(payload, Command)
            except InvalidMessageError as error:
                log.warning("a command was ignored: %s", error)
                continue
            self._begin(command, stopping)

    def _begin(self, command: Command, stopping: threading.Event) -> None:
        with self._lock:
            if command.id in self._under_way or not 1 <= len(command.id) <= 128:
                return
            self._under_way.add(command.id)
        # What waited for this device while it was away comes all at once.
        if not self._free.acquire(timeout=self._place_within_s):
            reply = _failed(command.id, f"{MAX_AT_ONCE} commands are under way; try again later")
            self._answer(reply, stopping, tries=1)
            with self._lock:
                self._under_way.discard(command.id)
            return
        thread = threading.Thread(
            target=self._run, args=(command, stopping), name=f"command {command.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            log.warning("the command %s cannot be begun: %s", command.name, error)
            self._free.release()
            with self._lock:
                self._under_way.discard(command.id)

    def _run(self, command: Command, stopping: threading.Event) -> None:
        try:
            self._answer(self._do(command, stopping), stopping)
        except Exception as error:
            log.exception("the command %s failed: %s", command.name, error)
        finally:
            self._free.release()
            with self._lock:
                self._under_way.discard(command.id)

    def _do(self, command: Command, stopping: threading.Event) -> Reply:
        refusal = self._refusal(command, stopping)
        if refusal is not None:
            return _failed(command.id, refusal)
        seen = self._state.begin_command(command.id)
        if seen is not None and not _may_repeat(command, seen):
            return seen.reply or _failed(
                command.id, "it was begun before the agent ended; look whether it was done"
            )
        log.info("command %s", command.name)
        reply = self._act(command)
        self._state.end_command(reply)
        return reply

    def _act(self, command: Command) -> Reply:
        try:
            text = self._actions[command.name](command.arguments)
        except EdgeError as error:
            return _failed(command.id, str(error))
        except Exception as error:
            log.exception("the command %s failed", command.name)
            return _failed(command.id, f"{type(error).__name__}; the agent's log says more")
        return Reply(v=VERSION, id=command.id, ok=True, text=text)

    def _refusal(self, command: Command, stopping: threading.Event) -> str | None:
        """Why it is not done, if it is not."""
        if command.name not in self._actions:
            return f"this agent does not know the command {command.name}"
        deadline = self._clock() + self._time_known_within_s
        while self._hub_now_ms() is None and self._clock() < deadline:
            if stopping.wait(0.1):
                return "the agent ends"
        now_ms = self._hub_now_ms()
        if now_ms is None:
            if command.name in HARMLESS:
                return None
            return "this device does not know the hub's time yet, so that it could be late"
        if now_ms > command.expires_ms:
            return f"it came {(now_ms - command.expires_ms) / 1000:.1f} s too late"
        return None

    def _answer(self, reply: Reply, stopping: threading.Event, tries: int | None = None) -> None:
        """Each part until the link takes it."""
        deadline = self._clock() + ANSWER_S
        for part in parts(reply):
            payload = encode(part)
            while not self._send(payload):
                if tries is not None or self._clock() > deadline or stopping.wait(self._retry_s):
                    log.warning("the answer to the command %s was not sent", reply.id)
                    return


def _may_repeat(command: Command, seen: Seen) -> bool:
    """What was asked again since its answer was lost: a question is answered anew."""
    return command.name in HARMLESS and (seen.reply is None or not seen.reply.ok)


def _failed(id: str, error: str) -> Reply:
    return Reply(v=VERSION, id=id, ok=False, error=error[:MAX_ERROR])
