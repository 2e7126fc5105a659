"""A TCP proxy on loopback that counts what passes through it, each way.

with counting(("127.0.0.1", 5000)) as wire:
    ...                    # a client talks to wire.port
    wire.to_server, wire.to_client
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

CHUNK_BYTES = 256 * 1024


@dataclass(slots=True)
class Wire:
    """The bytes so far, TCP payload only: with the heads of HTTP, without those of IP."""

    port: int
    to_server: int = 0
    to_client: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, size_bytes: int, *, is_to_server: bool) -> None:
        """Adds what has just passed."""
        with self._lock:
            if is_to_server:
                self.to_server += size_bytes
            else:
                self.to_client += size_bytes

    def reset(self) -> None:
        """Starts again at 0."""
        with self._lock:
            self.to_server = self.to_client = 0


@contextlib.contextmanager
def counting(server: tuple[str, int]) -> Iterator[Wire]:
    """Forwards to ``server`` while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(int(listener.getsockname()[1]))
        threading.Thread(target=_accept, args=(listener, server, wire), daemon=True).start()
        try:
            yield wire
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts


def _accept(listener: socket.socket, server: tuple[str, int], wire: Wire) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, server, wire), daemon=True).start()


def _serve(client: socket.socket, server: tuple[str, int], wire: Wire) -> None:
    with client, contextlib.suppress(OSError), socket.create_connection(server) as upstream:
        back = threading.Thread(target=_pass_on, args=(upstream, client, wire, False), daemon=True)
        back.start()
        _pass_on(client, upstream, wire, True)
        back.join()


def _pass_on(source: socket.socket, sink: socket.socket, wire: Wire, is_to_server: bool) -> None:
    """Until the source ends; then the sink hears of it, and may go on with the other direction."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            sink.sendall(chunk)
            wire.count(len(chunk), is_to_server=is_to_server)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
