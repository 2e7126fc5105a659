"""Waits for what comes a moment later, with a bound; what deployments are, and what they answer."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from registry import Workspace
from registry.deployments import Deployment

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


def state(made: Workspace, wanted: str, name: str = "web") -> Deployment | None:
    found = made.deployments.get(name)
    if found.observed is None or found.observed.state != wanted:
        return None
    return found


def cause_of(found: Deployment) -> str:
    return (found.observed.cause or "") if found.observed is not None else ""


def url_port(found: Deployment) -> int:
    assert found.observed is not None
    assert found.observed.url is not None
    return int(found.observed.url.split(":")[2].split("/")[0])
