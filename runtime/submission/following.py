"""Follows a run on its target until it has ended and all that it left is kept."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runtime.submission.downloads import Downloads
from runtime.submission.errors import LostError, PlaceError
from runtime.submission.frames import Frame, Frames, Lines
from runtime.submission.kept import Kept
from runtime.submission.places.port import Place, Stream
from runtime.submitted import layout

POLL_S = 0.1
LEASE_S = 2.0
CANCEL_S = 0.25
SILENCE_S = 30.0
"""Without a sign of life for so long a connection is lost, whatever it says of itself."""
CANCEL_PATIENCE_S = 10.0
"""For a target that is out of reach, once the run is to be ended."""
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
QUEUE = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the script ended. ``why``: exit, cancelled, timeout, setup, signal, lost or gone;
    ``code``: as of a subprocess."""

    why: str
    message: str = ""
    code: int | None = None


class Following:
    """Of one run that was started. ``is_cancelled`` is asked now and then."""

    def __init__(
        self,
        place: Place,
        *,
        is_cancelled: Callable[[], bool],
        on_line: Callable[[str], None],
        on_phase: Callable[[str], None],
        say: Callable[[str], None],
        patience_s: float,
    ) -> None:
        self._place = place
        self._is_cancelled = is_cancelled
        self._on_line = on_line
        self._on_phase = on_phase
        self._say = say
        self._patience_s = patience_s
        self._heard: queue.Queue[Frame | None] = queue.Queue(QUEUE)
        self._stream: Stream | None = None
        self._frames = Frames()
        self._lines = Lines()
        self._log_at = self._journal_at = 0
        self._outcome: Outcome | None = None
        self._is_ending = False
        self._has_asked_outputs = self._has_outputs = False
        self._lost_at: float | None = None
        self._tries = 0
        self._next_try = 0.0
        self._next_lease = self._next_cancel = self._heard_at = 0.0
        self._left: list[threading.Event] = []

    def attach(self, downloads: Downloads, kept: Kept) -> None:
        """What keeps what is heard; both need ``ask``."""
        self._downloads = downloads
        self._kept = kept

    def ask(self, request: Mapping[str, Any]) -> None:
        """Of the follower on the target; what a lost connection takes is asked again, or is of no
        more use."""
        if self._stream is not None:
            with suppress(LostError):
                self._stream.write(json.dumps(request).encode() + b"\n")

    def run(self) -> Outcome:
        """To the end. Ctrl-C asks for the end; a second one gives up."""
        self._lost_at = time.monotonic()
        while True:
            try:
                found = self._step()
                if found is not None:
                    return found
            except KeyboardInterrupt:
                if self._is_ending:
                    return Outcome("cancelled", "given up")
                self._cancel()

    def close(self) -> None:
        """The stream ends."""
        self._hang_up()

    def _step(self) -> Outcome | None:
        now = time.monotonic()
        if self._stream is None:
            found = self._reconnect(now)
            if found is not None or self._stream is None:
                return found
        if now >= self._next_lease:
            self.ask({"do": "lease"})
            self._next_lease = now + LEASE_S
        if now >= self._next_cancel:
            self._next_cancel = now + CANCEL_S
            if not self._is_ending and self._is_cancelled():
                self._cancel()
        try:
            frame = self._heard.get(timeout=POLL_S)
        except queue.Empty:
            if now - self._heard_at > SILENCE_S:
                self._lose()
            return None
        self._heard_at = now
        if frame is None:
            self._lose()
            return None
        self._take(frame)
        return self._whole()

    def _take(self, frame: Frame) -> None:
        if frame.letter == layout.LOG_FRAME:
            self._log_at += len(frame.data)
            for line in self._lines.take(frame.data):
                self._on_line(line)
        elif frame.letter == layout.JOURNAL_FRAME:
            self._journal_at += len(frame.data)
            self._kept.take(frame.data)
        elif frame.letter == layout.STATE_FRAME:
            self._take_state(json.loads(frame.data))
        elif frame.letter == layout.OUTPUTS_FRAME:
            if not self._has_outputs:
                self._has_outputs = True
                self._kept.take_outputs(json.loads(frame.data))
        elif frame.letter != layout.ALIVE_FRAME:
            self._downloads.take(frame)

    def _take_state(self, state: Mapping[str, Any]) -> None:
        if state["phase"] != "ended":
            self._on_phase(str(state["phase"]))
            return
        if self._outcome is None:
            code = state.get("code")
            self._outcome = Outcome(
                str(state["why"]), str(state["message"]), code if isinstance(code, int) else None
            )
            for line in self._lines.end():
                self._on_line(line)
        if not self._has_asked_outputs:
            self._has_asked_outputs = True
            self.ask({"do": "outputs"})

    def _whole(self) -> Outcome | None:
        """The outcome, once all is here."""
        if self._outcome is None or not self._has_outputs or not self._downloads.is_idle:
            return None
        self.ask({"do": "bye"})
        return self._outcome

    def _cancel(self) -> None:
        self._is_ending = True
        self.ask({"do": "cancel"})

    # The connection.

    def _reconnect(self, now: float) -> Outcome | None:
        """A stream again, or nothing yet, or the end of all patience."""
        if now >= self._next_cancel:
            self._next_cancel = now + CANCEL_S
            self._is_ending = self._is_ending or self._is_cancelled()
        if now < self._next_try:
            time.sleep(min(POLL_S, self._next_try - now))
            return None
        why = "it does not answer"
        try:
            self._connect(self._place.follow())
            return None
        except LostError as error:
            why = str(error)
        except PlaceError as error:
            return self._outcome or Outcome("gone", str(error))
        gone = self._place.gone()
        if gone is not None:
            return self._outcome or Outcome("gone", gone)
        assert self._lost_at is not None
        if self._is_ending and now - self._lost_at > CANCEL_PATIENCE_S:
            return Outcome(
                "cancelled", f"the target is out of reach ({why}); the script ends there"
            )
        if now - self._lost_at > self._patience_s:
            return self._outcome or Outcome(
                "lost", f"the target was out of reach for {self._patience_s:g} s: {why}"
            )
        self._next_try = now + RETRY_S[min(self._tries, len(RETRY_S) - 1)]
        self._tries += 1
        return None

    def _connect(self, stream: Stream) -> None:
        self._stream, self._frames = stream, Frames()
        self._heard = queue.Queue(QUEUE)
        left = threading.Event()
        self._left.append(left)
        arguments = (stream, self._frames, self._heard, left)
        threading.Thread(target=_read, args=arguments, name="run", daemon=True).start()
        now = time.monotonic()
        self._heard_at, self._next_lease = now, now + LEASE_S
        self.ask({"do": "follow", "log": self._log_at, "journal": self._journal_at})
        if self._tries:
            self._say("the connection to the target is back")
        if self._is_ending:
            self.ask({"do": "cancel"})
        self._has_asked_outputs = False
        self._downloads.again()
        self._lost_at, self._tries = None, 0

    def _lose(self) -> None:
        self._hang_up()
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
        self._next_try = now + RETRY_S[0]
        if self._place.gone() is None:
            self._tries = max(1, self._tries)
            self._say("the connection to the target is lost; trying again")

    def _hang_up(self) -> None:
        for left in self._left:
            left.set()
        self._left.clear()
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _read(
    stream: Stream, frames: Frames, heard: queue.Queue[Frame | None], left: threading.Event
) -> None:
    """On a thread of its own: what is heard, and None at the end."""
    with suppress(LostError):
        while not left.is_set():
            data = stream.read()
            if not data:
                break
            _put_all(frames.take(data), heard, left)
    _put_all([None], heard, left)


def _put_all(
    frames: Iterable[Frame | None], heard: queue.Queue[Frame | None], left: threading.Event
) -> None:
    for frame in frames:
        while not left.is_set():
            with suppress(queue.Full):
                heard.put(frame, timeout=POLL_S)
                break
