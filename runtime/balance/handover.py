"""The listening sockets of one HAProxy for the next: nobody who connects in between is refused.

HAProxy gives its sockets to whoever asks ``_getsocks`` on its command socket (``expose-fd
listeners``), and asks so itself when it starts with ``-x SOCKET``. That is how one process takes
over from another; versions differ across an upgrade, so the exchange does not change. The keeper
asks too and holds what it gets, so that the ports stay open when HAProxy is killed: connections
wait in the kernel. To the process that comes next it then plays HAProxy's part:

    held = receive(folder, "listeners.3.sock")
    with Giver(held, folder, "handover.sock"):     # haproxy -x handover.sock

The exchange: "_getsocks\\n"; the number of sockets (a C int); the sockets, up to 252 in one message
beside a description of each, which the keeper passes on as it is; an answer to each message.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.balance.errors import StartError, UnreachableError
from runtime.balance.runtime_api import connect

MOST = 252
"""Sockets in one message."""
TIMEOUT_S = 2.0
_INT = struct.Struct("@i")
_DESCRIPTION_BYTES = 1 + 255 + 1 + 255 + _INT.size
_ASK = b"_getsocks\n"


@dataclass(slots=True)
class Held:
    """Messages as they came: descriptions, and the sockets' descriptors. Close it."""

    messages: list[tuple[bytes, list[int]]]

    @property
    def count(self) -> int:
        """Sockets."""
        return sum(len(descriptors) for _, descriptors in self.messages)

    def close(self) -> None:
        """The ports that nobody else holds are closed. Idempotent."""
        for _, descriptors in self.messages:
            for descriptor in descriptors:
                os.close(descriptor)
        self.messages = []


def require_free(address: str, port: int) -> None:
    """Raises StartError when that cannot be listened on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            probe.listen()
    except OSError as error:
        raise StartError(f"cannot listen at {address} port {port}: {error.strerror}") from None


def receive(folder: Path, name: str) -> Held:
    """Copies of the listening sockets of the HAProxy at that command socket. Raises
    UnreachableError."""
    held = Held([])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        try:
            link.settimeout(TIMEOUT_S)
            connect(link, folder, name)
            link.sendall(_ASK)
            (wanted,) = _INT.unpack(link.recv(_INT.size, socket.MSG_WAITALL))
            while held.count < wanted:
                message, descriptors = _message(link)
                if not descriptors:
                    raise OSError(0, "it gave fewer sockets than it has")
                held.messages.append((message, descriptors))
                with contextlib.suppress(BrokenPipeError):  # nobody waits for the last one's
                    link.sendall(_INT.pack(len(descriptors)))
        except (OSError, struct.error) as error:
            held.close()
            raise UnreachableError(f"HAProxy did not hand its sockets over: {error}") from None
    return held


def _message(link: socket.socket) -> tuple[bytes, list[int]]:
    size = array.array("i").itemsize
    data, ancillary, _, _ = link.recvmsg(
        MOST * _DESCRIPTION_BYTES, socket.CMSG_SPACE(MOST * size), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % size])
    return data, list(descriptors)


class Giver:
    """Gives what is held to every HAProxy that asks, while the block runs."""

    def __init__(self, held: Held, folder: Path, name: str, *, owner: int | None = None) -> None:
        self._held = held
        self._folder = folder
        self._name = name
        self._owner = owner
        self._server: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        path = self._folder / self._name
        path.unlink(missing_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            server.bind(f"/proc/self/fd/{folder}/{self._name}")
        finally:
            os.close(folder)
        path.chmod(0o600)
        if self._owner is not None:
            os.chown(path, self._owner, -1)
        server.listen()
        self._server = server
        self._thread = threading.Thread(target=self._serve, name="haproxy-handover", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._thread.join()
        self._server.close()
        (self._folder / self._name).unlink(missing_ok=True)

    def _serve(self) -> None:
        assert self._server is not None
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            with link, contextlib.suppress(OSError, struct.error):
                self._give(link)

    def _give(self, link: socket.socket) -> None:
        link.settimeout(TIMEOUT_S)
        if link.recv(len(_ASK), socket.MSG_WAITALL) != _ASK:
            return
        link.sendall(_INT.pack(self._held.count))
        for message, descriptors in self._held.messages:
            rights = array.array("i", descriptors)
            link.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            link.recv(_INT.size, socket.MSG_WAITALL)
