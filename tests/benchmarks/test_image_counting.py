"""The proxy that counts bytes."""

from __future__ import annotations

import socket
import threading

from benchmarks.images.counting import counting


def _echo_twice(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while chunk := connection.recv(65536):
            connection.sendall(chunk * 2)


def test_both_ways_are_counted_and_nothing_is_changed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_echo_twice, args=(listener,))
        server.start()
        with (
            counting(listener.getsockname()) as wire,
            socket.create_connection(("127.0.0.1", wire.port), timeout=10) as client,
        ):
            client.sendall(b"a" * 1000)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        server.join()
    assert answer == b"a" * 2000
    assert (wire.to_server, wire.to_client) == (1000, 2000)
    wire.reset()
    assert (wire.to_server, wire.to_client) == (0, 0)
