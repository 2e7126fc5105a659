"""The bad network itself leaves nothing behind, whoever connects while it ends."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading

from benchmarks.edge.network import BadNetwork


def test_clients_that_connect_while_it_ends_leave_no_socket() -> None:
    """Warnings of sockets that nobody closed are errors."""

    def hammer(port: int, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 0.2).close()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as target:
        for _ in range(5):
            over = threading.Event()
            with BadNetwork(target.getsockname()) as network:
                thread = threading.Thread(target=hammer, args=(network.port, over))
                thread.start()
            over.set()
            thread.join(60)
    gc.collect()
