"""POST /score of an instance on this device, within a time that bounds all of it."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from typing import Any

from edge.hosts.port import Observed
from edge.switch.golden import Answer

MAX_ANSWER_BYTES = 16 * 1024 * 1024
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def body_of(value: Any) -> bytes:
    """A golden input as it is sent: a text as it is, anything else as JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def score(seen: Observed, body: bytes, timeout_s: float) -> Answer:
    """Raises OSError when it does not answer in time, or not at all."""
    if seen.port is None:
        raise OSError("it has no port")
    address = ANYWHERE.get(seen.address, seen.address)
    began = time.perf_counter()
    deadline = time.monotonic() + timeout_s
    with closing(http.client.HTTPConnection(address, seen.port, timeout=timeout_s)) as link:
        try:
            link.request("POST", "/score", body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            parts: list[bytes] = []
            size = 0
            while chunk := answer.read1(1 << 20):
                parts.append(chunk)
                size += len(chunk)
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(f"no whole answer within {timeout_s:g} s")
                if size > MAX_ANSWER_BYTES:
                    raise OSError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                if link.sock is not None:
                    link.sock.settimeout(left_s)
            return Answer(answer.status, b"".join(parts), time.perf_counter() - began)
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {type(error).__name__}") from error
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {timeout_s:g} s") from error
