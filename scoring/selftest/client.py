"""One HTTP request to the server under test."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass

HOST = "127.0.0.1"
CHUNK_BYTES = 1024 * 1024
KEPT_BYTES = 16 * 1024 * 1024
"""Of a body; longer ones are read to their end and counted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is its first KEPT_BYTES; ``size_bytes`` are all."""

    status: int
    body: bytes
    size_bytes: int
    took_s: float


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    timeout_s: float,
) -> Answer:
    """The whole answer. Raises OSError: TimeoutError when it did not end in time, else when the
    connection ended or what came was no HTTP."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=max(timeout_s, 0.001))
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        kept, count = b"", 0
        while chunk := response.read(CHUNK_BYTES):
            count += len(chunk)
            kept += chunk[: KEPT_BYTES - len(kept)]
            if time.monotonic() - started > timeout_s:
                raise TimeoutError
        return Answer(response.status, kept, count, time.monotonic() - started)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no whole answer came ({type(error).__name__})") from error
    finally:
        connection.close()
