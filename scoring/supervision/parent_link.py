"""A server process's link to its supervisor: connections come in, news goes out.

    def child_main(generation, link: ParentLink) -> int:    # supervisor.py calls it
        ...
        link.attach(loop, on_connection, on_command)
        link.ready()                                        # once the model has loaded

What the process owes its supervisor, per connection (the two calls of the hot path are a few
memory writes, no system call):

    link.received(slot, len(data))      # first in data_received: the connection is busy now
    link.answered(slot, len(answer))    # just before the last piece of the last answer is written
    link.wrote(slot, len(piece))        # just before any other piece is written
    link.closed(slot)                   # the transport is closed: the client gets its FIN only now
    link.released(slot)                 # closed as well, to go on in another process

"Written" is "given to the transport": an answer that never reached the kernel shows in the count.
The counts have to be exact: by them the supervisor tells, when this process dies, which of its
connections can go on elsewhere (tcp_state.py). A wrong count costs the connection only.
"""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence

from scoring.supervision.board import BUSY, CELL_WORDS, CONSUMED, WRITTEN, Board, Life
from scoring.supervision.link_messages import (
    MAX_FDS,
    MAX_MESSAGE_BYTES,
    MAX_PAYLOAD_BYTES,
    Answer,
    Answered,
    Ask,
    Closed,
    Drain,
    Failed,
    GiveBack,
    Ready,
    Released,
    Retire,
    Take,
    Tell,
    ToParent,
    decode_to_child,
    encode,
)

Command = Drain | Retire | GiveBack | Tell | Ask
"""What ``on_command`` gets. An Ask wants ``link.answer(ask.id, payload)``, at once or later."""
OnConnection = Callable[[socket.socket, int], None]
OnCommand = Callable[[Command], None]
OnAnswers = Callable[[list[bytes], int], None]
"""on_answers(answers, missing): one answer for each process that gave one; how many did not."""

assert (CELL_WORDS, CONSUMED, WRITTEN, BUSY) == (8, 0, 1, 2)  # see received() and answered()
_FD_SPACE = socket.CMSG_SPACE(MAX_FDS * struct.calcsize("i"))
_MESSAGES_PER_WAKEUP = 64
_GRACE_S = 2
_LAST_WORDS_S = 1.0


class ParentLink:
    """See the module. Used on the event loop's thread only; every call returns at once."""

    def __init__(
        self,
        link: socket.socket,
        board: Board,
        life: Life,
        listeners: Sequence[socket.socket],
        *,
        orphan_drain_s: float,
    ) -> None:
        self.board = board
        self.life = life
        """This process's part of the board: ``publish``, ``set_running``, ``clear_running``."""
        self._cells = board.cells
        self._link = link
        self._kinds = [(entry.family, entry.type, entry.proto) for entry in listeners]
        self._orphan_drain_s = orphan_drain_s
        self._buffer = bytearray(MAX_MESSAGE_BYTES)
        self._unsent: deque[bytes] = deque()
        self._asked: dict[int, tuple[OnAnswers, list[bytes]]] = {}
        self._asks = 0
        self._is_open = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_connection: OnConnection | None = None
        self._on_command: OnCommand | None = None

    @property
    def generation(self) -> int:
        """The number of this process's generation, counted from 1."""
        return self.life.generation

    def attach(
        self, loop: asyncio.AbstractEventLoop, on_connection: OnConnection, on_command: OnCommand
    ) -> None:
        """From now on, connections (non-blocking sockets, now ours) and commands are delivered."""
        self._loop, self._on_connection, self._on_command = loop, on_connection, on_command
        loop.add_reader(self._link.fileno(), self._read)
        if self._unsent:
            loop.add_writer(self._link.fileno(), self._flush)

    # A connection's state. The first two are called for every request: literal numbers instead of
    # CELL_WORDS and its kin save a third of their time.

    def received(self, slot: int, size_bytes: int) -> None:
        """So many bytes were read from it: a request is under way."""
        cells, cell = self._cells, slot * 8
        cells[cell] += size_bytes
        cells[cell + 2] = 1

    def answered(self, slot: int, size_bytes: int) -> None:
        """The last so many bytes of all its answers go to the transport: it is idle now."""
        cells, cell = self._cells, slot * 8
        cells[cell + 1] += size_bytes
        cells[cell + 2] = 0

    def wrote(self, slot: int, size_bytes: int) -> None:
        """So many bytes go to the transport."""
        self._cells[slot * CELL_WORDS + WRITTEN] += size_bytes

    def closed(self, slot: int) -> None:
        """Our copy is closed and the connection ends. Not for one that was released."""
        self._send(Closed(slot))

    def released(self, slot: int) -> None:
        """Our copy of an idle connection is closed; it goes on in another process."""
        self._send(Released(slot))

    # This process's state

    def ready(self) -> None:
        """It can answer requests (again)."""
        self.life.is_ready = True
        self._send(Ready())

    def not_ready(self) -> None:
        """It cannot answer requests for now."""
        self.life.is_ready = False

    def failed(self, message: str, exit_code: int = 3) -> None:
        """It will never be ready; ``message`` is one line for people. A Drain or a Retire follows,
        so that nobody is cut off. Leave with this exit code, which is also the whole server's,
        should it never have been ready."""
        self._send(Failed(message, exit_code))

    # All processes of the generation

    def tell(self, payload: bytes) -> None:
        """Every process of the generation gets it as a Tell, this one too."""
        self._send(Tell(_checked(payload)))

    def ask(self, payload: bytes, on_answers: OnAnswers) -> None:
        """Every process of the generation gets it as an Ask, this one too; see OnAnswers."""
        self._asks += 1
        self._asked[self._asks] = on_answers, []
        self._send(Ask(self._asks, _checked(payload)))

    def answer(self, ask_id: int, payload: bytes) -> None:
        """Answer an Ask."""
        self._send(Answer(ask_id, _checked(payload)))

    def close(self) -> None:
        """Send what is left, if the parent takes it soon, and close. (Done after child_main.)"""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._link.fileno())
            self._loop.remove_writer(self._link.fileno())
        self._loop = None
        while self._unsent and self._is_open:
            if not select.select([], [self._link], [], _LAST_WORDS_S)[1]:
                break
            self._flush()
        self._is_open = False
        self._link.close()

    # Sending, in order

    def _send(self, message: ToParent) -> None:
        if not self._is_open:
            return
        packet = encode(message)
        if self._unsent or not self._try_send(packet):
            self._unsent.append(packet)
            if self._loop is not None:
                self._loop.add_writer(self._link.fileno(), self._flush)

    def _flush(self) -> None:
        while self._unsent and self._try_send(self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent and self._loop is not None:
            self._loop.remove_writer(self._link.fileno())

    def _try_send(self, packet: bytes) -> bool:
        """False when it has to wait."""
        try:
            self._link.send(packet)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:  # the parent is gone, which the reader will find
            pass
        return True

    # Receiving

    def _read(self) -> None:
        for _ in range(_MESSAGES_PER_WAKEUP):
            try:
                size, ancillary, _, _ = self._link.recvmsg_into(
                    [self._buffer], _FD_SPACE, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionResetError:  # said once; what was sent before it is still to be read
                continue
            if size == 0:
                self._orphaned()
                return
            self._handle(memoryview(self._buffer)[:size], ancillary)
            if not self._is_open:
                return

    def _handle(self, packet: memoryview, ancillary: list[tuple[int, int, bytes]]) -> None:
        message = decode_to_child(packet)
        match message:
            case Take():
                self._take(message, _fds(ancillary))
            case Answer():
                if message.id in self._asked:
                    self._asked[message.id][1].append(message.payload)
            case Answered():
                on_answers, answers = self._asked.pop(message.id)
                on_answers(answers, message.missing)
            case _:
                assert self._on_command is not None
                self._on_command(message)

    def _take(self, take: Take, fds: list[int]) -> None:
        assert self._on_connection is not None
        for slot, listener, fd in zip(take.slots, take.listeners, fds, strict=False):
            family, kind, protocol = self._kinds[listener]
            connection = socket.socket(family, kind, protocol, fileno=fd)
            connection.setblocking(False)
            self._on_connection(connection, slot)
        for slot in take.slots[len(fds) :]:  # the kernel drops what finds no free descriptor
            self.closed(slot)

    def _orphaned(self) -> None:
        """The parent died: leave soon, and whatever hangs."""
        self._is_open = False
        assert self._loop is not None
        self._loop.remove_reader(self._link.fileno())
        self._loop.remove_writer(self._link.fileno())
        signal.alarm(int(self._orphan_drain_s) + _GRACE_S)
        if self._on_command is not None:
            self._on_command(Drain(self._orphan_drain_s))


def _fds(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            whole = len(content) - len(content) % struct.calcsize("i")
            fds += struct.unpack(f"={whole // struct.calcsize('i')}i", content[:whole])
    return fds


def _checked(payload: bytes) -> bytes:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes; the limit is {MAX_PAYLOAD_BYTES}")
    return payload
