"""What a scoring server says of its own processes."""

from __future__ import annotations

import pytest

from edge.hosts.memory import Behaviour, MemoryHost
from edge.hosts.port import Instance, InstanceId
from edge.switch.worker_ends import worker_ends


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('# TYPE inferry_restarts_total counter\ninferry_restarts_total{kind="worker"} 2\n'
         'inferry_restarts_total{kind="process"} 1\ninferry_restarts_totally 5\n', 3.0),
        ("something_else 1\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_ends_of_all_kinds_are_added(text: str, count: float | None) -> None:
    host = MemoryHost({"d": Behaviour(metrics=text)})
    host.prepare("d", lambda: False)
    host.start(Instance(InstanceId("m", "live"), "d"))
    try:
        port = host.list()[0].port
        assert port is not None
        assert worker_ends("127.0.0.1", port) == count
    finally:
        host.close()
    assert worker_ends("127.0.0.1", port) is None
