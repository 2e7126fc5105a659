"""A way to a server that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Passes connections on to a port of loopback."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_up = True
        self.made = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """End all connections, and take no new ones."""
        self._is_up = False
        self._end_all()

    def mend(self) -> None:
        """Take new ones again."""
        self._is_up = True

    def close(self) -> None:
        """Its port too."""
        self._is_up = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end_all()
        for thread in list(self._threads):
            thread.join(10)

    def _end_all(self) -> None:
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._is_up:
                client.close()
                continue
            self.made += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._open |= {client, server}
            left = [2]
            for source, sink in ((client, server), (server, client)):
                arguments = (source, sink, left)
                thread = threading.Thread(target=self._pass, args=arguments, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with self._lock:
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            left[0] -= 1
            if left[0] == 0:
                self._open -= {source, sink}
                source.close()
                sink.close()
