"""Waits for what comes a moment later, with a bound."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def eventually(ask: Callable[[], T | None], timeout_s: float = 60.0) -> T:
    """The first answer that is true. Raises AssertionError with the last one."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = ask()
        if found:
            return found
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.05)


def score(address: str, port: int, rows: list[list[float]]) -> Any:
    """What the server answers to these rows."""
    request = urllib.request.Request(
        f"http://{address}:{port}/score",
        json.dumps({"x": rows}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())
