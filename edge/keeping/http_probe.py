"""Asks a module from outside whether it is well.

error = probe("127.0.0.1", 8001, "/readyz", timeout_s=5)      # None: it is

The time is a bound of the whole answer: one that comes byte by byte is none.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import IO, cast

MAX_ANSWER_BYTES = 64 * 1024
MAX_SAID_CHARS = 300
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def probe(address: str, port: int, path: str, timeout_s: float) -> str | None:
    """What is wrong, in one line; None when the answer is 200, whole, in time."""
    deadline = time.monotonic() + timeout_s
    try:
        with socket.create_connection((ANYWHERE.get(address, address), port), timeout_s) as to:
            to.sendall(_request(address, port, path))
            answer = http.client.HTTPResponse(cast("socket.socket", Timed(to, deadline)))
            try:
                answer.begin()
                body = answer.read(MAX_ANSWER_BYTES)
                if answer.length and len(body) < MAX_ANSWER_BYTES:
                    raise http.client.IncompleteRead(b"")
                status = answer.status
            finally:
                answer.close()
    except TimeoutError:
        return f"no answer to GET {path} within {timeout_s:g} s"
    except ConnectionRefusedError:
        return f"nothing listens on port {port}"
    except http.client.RemoteDisconnected:
        return f"it hung up at GET {path}"
    except OSError as error:
        return f"GET {path}: {error.strerror or type(error).__name__}"
    except OverflowError:
        return f"port {port} cannot be asked"
    except (http.client.HTTPException, ValueError):
        return f"the answer to GET {path} is no HTTP"
    return None if status == 200 else f"GET {path} answers {status}{_said(body)}"


def _said(body: bytes) -> str:
    """What an answer says of the reason, such as a board that does not work: in one line."""
    text = " ".join(body[: 4 * MAX_SAID_CHARS].decode("utf-8", "replace").split())
    kept = "".join(char for char in text if char.isprintable())[:MAX_SAID_CHARS]
    return f": {kept}" if kept else ""


def _request(address: str, port: int, path: str) -> bytes:
    if not path.startswith("/") or not path.isprintable() or " " in path:
        raise ValueError(f"{ascii(path)[:80]} is no path")
    host = f"[{address}]" if ":" in address else address
    lines = f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "User-Agent: inferry-edge"
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


class Timed(io.RawIOBase):
    """What a socket sends until ``deadline``, which may be moved; then TimeoutError."""

    def __init__(self, source: socket.socket, deadline: float) -> None:
        self._source, self.deadline = source, deadline

    def makefile(self, mode: str) -> IO[bytes]:
        return cast("IO[bytes]", io.BufferedReader(self))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._source.settimeout(left_s)
        return self._source.recv_into(buffer)
