"""The server's end of a worker's socket: hands over a batch, collects its answers, keeps the time.

There is no task, no future and no timer per request: the socket's events call ``done``.

    link.run(batch, done)      # on a link that is free; later done([ScriptReply | ScoringError])

A link is free, has a batch, has the rest of a stream, or is lost: then its worker has ended, hangs
or answered nonsense, and must be replaced. Whatever happens, each ``done`` is called once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from scoring.errors import RunTimeoutError, ScoringError, UnavailableError, WorkerDiedError
from scoring.script import frames
from scoring.script.frame_reader import FrameReader
from scoring.script.script_request import ScriptReply, ScriptRequest
from scoring.script.script_stream import Feed, ScriptStream

Answers = Sequence[ScriptReply | ScoringError]
Done = Callable[[Answers], None]
Batch = Sequence[ScriptRequest]

_PIECE = 256 * 1024
"""A body is handed to the transport in pieces of this size, as fast as the worker reads them; up to
this size it goes with its header, in one system call."""


class LinkOwner(Protocol):
    """What a link tells its pool."""

    def on_free(self, link: WorkerLink, *, after_stream: bool = False) -> None:
        """It can take the next batch; called just before ``done``, or after a stream's end."""

    def on_stream(self) -> None:
        """A link will not be free for a while after this ``done``: its answer is a stream."""

    def on_lost(self, link: WorkerLink, *, in_stream: bool) -> None:
        """It is of no use any more."""

    def on_unread(self, batch: Batch, done: Done) -> None:
        """The worker ended before it had read this batch: it can go to another one."""


class WorkerLink(asyncio.Protocol):
    """See the module. ``limit_s`` is how long the worker may be silent with a batch; None: ever."""

    def __init__(self, owner: LinkOwner, *, limit_s: float | None) -> None:
        self.lost = asyncio.Event()
        self.has_hung = False
        """Lost because it was silent for too long or talks nonsense: it will not leave itself."""
        self.had = 0
        """Requests that it had not answered when it was lost."""
        self._is_streaming = False
        self._owner = owner
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._loading: asyncio.Queue[frames.LoadMessage | None] = asyncio.Queue()
        self._is_loaded = False
        self._ticket = 0
        self._batch: Batch = ()
        self._retried = False
        self._done: Done | None = None
        self._answers: list[ScriptReply | ScoringError | None] = []
        self._left = 0
        self._feed: Feed | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unsent: deque[memoryview] = deque()
        self._can_write = True

    async def load_message(self) -> frames.LoadMessage | None:
        """What the worker says of its start, or None when it is lost."""
        message = await self._loading.get()
        self._is_loaded = isinstance(message, frames.Ready)
        return message

    def run(self, batch: Batch, done: Done, *, retried: bool = False) -> None:
        """Hand over a batch; the link must be free. ``retried``: it has been unread once."""
        self._ticket = (self._ticket + 1) & frames.MAX_TICKET
        self._batch, self._done, self._retried = batch, done, retried
        self._left = len(batch)
        self._answers = [None] * len(batch)
        if self._limit_s is not None:
            self._deadline = self._loop.time() + self._limit_s
            if self._timer is None:
                self._timer = self._loop.call_at(self._deadline, self._check_deadline)
        self._send(batch)

    def drain(self) -> None:
        """The process has ended: take what it left in the socket."""
        if self._feed is not None:
            self._feed.flush()

    def close(self) -> None:
        """Give the worker up; what it has is answered with UnavailableError."""
        self._lose(UnavailableError("the server has stopped"))

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except frames.FrameError:
            self.has_hung = True
            self._lose(WorkerDiedError("the worker answered nonsense"))
            return
        if self._done is None:
            return
        if self._left == 0:
            self._finish()
        elif self._limit_s is not None:
            self._deadline = self._loop.time() + self._limit_s

    def connection_lost(self, exc: Exception | None) -> None:
        is_unread = isinstance(exc, ConnectionResetError | BrokenPipeError)
        if is_unread and self._done is not None and not self._retried and self._has_all_left():
            batch, done = self._batch, self._done
            self._forget()
            self._lose(WorkerDiedError(""))
            self._owner.on_unread(batch, done)
        else:
            self._lose(WorkerDiedError("the worker ended while it had this request"))

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._send_on()

    # Sending

    def _send(self, batch: Batch) -> None:
        bodies = [request.body for request in batch]
        size = sum(map(len, bodies))
        message: frames.ScoreRequest | frames.ScoreBatch = batch[0].head
        if len(batch) > 1:
            heads = [request.head for request in batch]
            message = frames.ScoreBatch(heads, [len(body) for body in bodies])
        head = frames.head(message, size, self._ticket)
        if size <= _PIECE:
            self._transport.write(b"".join([head, *bodies]))
            return
        self._transport.write(head)
        for body in bodies:
            view = memoryview(body)
            self._unsent.extend(view[at : at + _PIECE] for at in range(0, len(body), _PIECE))
        self._send_on()

    def _send_on(self) -> None:
        while self._unsent and self._can_write:
            self._transport.write(self._unsent.popleft())

    # Receiving

    def _take(self, frame: frames.Frame) -> None:
        """One frame. Raises FrameError when it does not belong here."""
        message, body, ticket = frame
        if ticket != self._ticket or not (self._left or self._feed):
            self._take_load_message(message)
        elif isinstance(message, frames.Reply):
            self._answer(
                message.index,
                ScriptReply(message.status, message.headers, body, message.run_ms, message.failed),
            )
        elif isinstance(message, frames.StreamHead):
            self._feed = Feed(self._transport, self._stream_abandoned)
            stream = ScriptStream(self._feed)
            self._answer(0, ScriptReply(message.status, message.headers, stream, message.run_ms))
        elif self._feed is not None and isinstance(message, frames.StreamChunk):
            self._feed.push(body)
        elif self._feed is not None and isinstance(message, frames.StreamEnd):
            self._end_stream(broken=message.broken)
        elif not isinstance(message, frames.Progress):
            raise frames.FrameError("not an answer")

    def _take_load_message(self, message: frames.Message) -> None:
        if self._is_loaded or not isinstance(message, frames.LoadMessage):
            raise frames.FrameError("an answer to nothing")
        self._loading.put_nowait(message)

    def _answer(self, index: int, reply: ScriptReply) -> None:
        if not 0 <= index < len(self._answers) or self._answers[index] is not None:
            raise frames.FrameError("not one answer for each request")
        self._answers[index] = reply
        self._left -= 1

    def _finish(self) -> None:
        """All answers are there, the last one maybe as a stream that goes on."""
        done, answers = self._done, self._answers
        self._forget()
        if self._feed is None and self._reader.is_empty:
            self._owner.on_free(self)
        elif self._feed is None:
            self.has_hung = True
            self._lose(WorkerDiedError("the worker answered nonsense"))
        else:
            self._is_streaming = True
            self._owner.on_stream()
        self._tell(done, answers)

    def _end_stream(self, *, broken: bool) -> None:
        assert self._feed is not None
        self._feed.end(broken=broken)
        self._feed = None
        if self._is_streaming:
            self._is_streaming = False
            self._owner.on_free(self, after_stream=True)

    def _stream_abandoned(self) -> None:
        self._lose(WorkerDiedError("the rest of the stream was given up"))

    # Ending

    def _check_deadline(self) -> None:
        self._timer = None
        if self._done is None or self._limit_s is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._check_deadline)
            return
        self.has_hung = True
        self._lose(RunTimeoutError(self._limit_s))

    def _lose(self, error: ScoringError) -> None:
        """Of no use any more. What has no answer gets ``error``."""
        if self.lost.is_set():
            return
        self.lost.set()
        self.had = self._left
        self._transport.abort()
        self._unsent.clear()
        self._loading.put_nowait(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._feed is not None:
            self._feed.end(broken=True)
        done, answers = self._done, self._answers
        self._forget()
        self._owner.on_lost(self, in_stream=self._is_streaming)
        self._tell(done, [error if answer is None else answer for answer in answers])

    def _has_all_left(self) -> bool:
        return self._left == len(self._answers)

    def _forget(self) -> None:
        self._batch, self._done, self._answers, self._left = (), None, [], 0

    def _tell(
        self, done: Done | None, answers: Sequence[ScriptReply | ScoringError | None]
    ) -> None:
        if done is None:
            return
        try:
            done(answers)  # type: ignore[arg-type]  # each one is there
        except Exception as error:  # a bug of the caller's must not cost the worker
            self._loop.call_exception_handler(
                {"message": "a batch's answers were not taken", "exception": error}
            )
