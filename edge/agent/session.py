"""What is said to this device: put in order, and acted on by a thread of its own.

The link's thread only leaves messages here. Of desired states only the newest counts, so one place
is enough; it is kept on disk before anything is done about it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edge import topics
from edge.agent.desired import consider
from edge.agent.state import AgentState
from edge.errors import InvalidMessageError
from edge.link.port import Message
from edge.messages.desired import Desired

log = logging.getLogger(__name__)
RETRY_S = 1.0
MAX_PENDING = 16
"""Desired states that came together: all are read, as a malformed one must not hide a good one."""


class Session:
    """``announce`` says that the device is there, and whether the link took it."""

    def __init__(
        self,
        device: str,
        state: AgentState,
        *,
        announce: Callable[[], bool],
        apply: Callable[[Desired], None],
        on_ack: Callable[[bytes], None],
        on_command: Callable[[bytes], None],
        on_announced: Callable[[], None],
        retry_s: float = RETRY_S,
    ) -> None:
        self.desired = state.desired()
        self.error: str | None = None
        self._device = device
        self._state = state
        self._announce = announce
        self._apply = apply
        self._on_ack = on_ack
        self._on_command = on_command
        self._on_announced = on_announced
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._payloads: list[bytes] = []
        self._is_connected_anew = False

    @property
    def version(self) -> int:
        """Of the desired state that is followed; 0: none was ever heard."""
        return 0 if self.desired is None else self.desired.version

    def on_message(self, message: Message) -> None:
        """From the link's thread."""
        try:
            device, kind = topics.parse(message.topic)
        except InvalidMessageError:
            return
        if device != self._device:
            return
        if kind == topics.ACK:
            self._on_ack(message.payload)
        elif kind == topics.COMMAND:
            self._on_command(message.payload)
        elif kind == topics.DESIRED and message.payload:
            with self._lock:
                self._payloads = [*self._payloads[1 - MAX_PENDING :], message.payload]
            self._wake.set()

    def on_connected(self) -> None:
        """From the link's thread."""
        with self._lock:
            self._is_connected_anew = True
        self._wake.set()

    def wake(self) -> None:
        """Look whether there is something to do, or it is the end."""
        self._wake.set()

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        while not stopping.is_set():
            if self._wake.wait(5.0):
                self._wake.clear()
                self.step(stopping)

    def step(self, stopping: threading.Event) -> None:
        """Act on what came."""
        with self._lock:
            payloads, self._payloads = self._payloads, []
            is_new, self._is_connected_anew = self._is_connected_anew, False
        for number, payload in enumerate(payloads):
            try:
                self._follow(payload)
            except Exception:
                with self._lock:  # the disk is full: the next attempt reads it again
                    self._payloads = [*payloads[number:], *self._payloads][-MAX_PENDING:]
                    self._is_connected_anew |= is_new
                self._wake.set()
                raise
        if is_new:
            if self._announce():
                self._on_announced()
            elif not stopping.wait(self._retry_s):
                self.on_connected()

    def _follow(self, payload: bytes) -> None:
        try:
            desired = consider(payload, self._device, self.version)
        except InvalidMessageError as error:
            self.error = f"a desired state was refused: {error}"[:500]
            log.error("%s", self.error)
            return
        if desired is None:
            return
        self._state.keep_desired(desired)
        self.desired, self.error = desired, None
        log.info("desired state %d: %s", desired.version, _words(desired))
        self._apply(desired)


def _words(desired: Desired) -> str:
    return ", ".join(f"{m.name} = {m.image}" for m in desired.modules) or "no modules"
