"""POST /score of an instance on this device, within a time that bounds all of it: also an answer
that comes byte by byte.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any, cast

from edge.hosts.port import Observed
from edge.keeping.http_probe import ANYWHERE, Timed
from edge.switch.golden import Answer

MAX_ANSWER_BYTES = 16 * 1024 * 1024


def body_of(value: Any) -> bytes:
    """A golden input as it is sent: a text as it is, anything else as JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def score(seen: Observed, body: bytes, timeout_s: float) -> Answer:
    """Raises TimeoutError when it does not answer in time, OSError when it does not at all."""
    if seen.port is None:
        raise OSError("it has no port")
    began = time.perf_counter()
    deadline = time.monotonic() + timeout_s
    address = ANYWHERE.get(seen.address, seen.address)
    try:
        with socket.create_connection((address, seen.port), timeout_s) as link:
            link.sendall(_head(address, seen.port, len(body)) + body)
            status, data = _answer(link, deadline)
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {type(error).__name__}") from error
    except TimeoutError as error:
        raise TimeoutError(f"no whole answer within {timeout_s:g} s") from error
    except OverflowError as error:
        raise OSError(f"port {seen.port} cannot be asked") from error
    except OSError as error:
        raise OSError(error.strerror or str(error) or type(error).__name__) from error
    return Answer(status, data, time.perf_counter() - began)


def _head(address: str, port: int, size: int) -> bytes:
    host = f"[{address}]" if ":" in address else address
    lines = (
        "POST /score HTTP/1.1", f"Host: {host}:{port}", "User-Agent: inferry-edge",
        "Content-Type: application/json", f"Content-Length: {size}", "Connection: close",
    )  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def _answer(link: socket.socket, deadline: float) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(cast("socket.socket", Timed(link, deadline)), method="POST")
    try:
        answer.begin()
        data = answer.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise OSError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        if answer.length:
            raise http.client.IncompleteRead(b"")
        return answer.status, data
    finally:
        answer.close()
