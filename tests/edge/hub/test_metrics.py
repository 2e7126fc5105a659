from __future__ import annotations

import http.client
import json
import re
import socket
from pathlib import Path

import pytest

from edge import topics
from edge.errors import ConfigError
from edge.hub.database import Database
from edge.hub.metrics import HELP, MetricsServer, metrics_text, text
from tests.edge.hub.fakes import batch, packed, wait_for
from tests.edge.hub.test_service import running

HUB = Path(__file__).parents[3] / "edge" / "hub"


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_what_is_counted_is_told(database: Database) -> None:
    with running(database) as hub:
        hub.link.connect()
        hub.link.arrive("a", topics.TELEMETRY, packed(batch(1, 3)))
        hub.link.arrive("a", topics.TELEMETRY, b"bad")
        wait_for(lambda: hub.acks("a") and hub.refused("malformed"))
        found = metrics_text(hub.service)
    lines = found.splitlines()
    assert "inferry_hub_records_total 3" in lines
    assert 'inferry_hub_refused_total{reason="malformed"} 1' in lines
    assert "inferry_hub_telemetry_records 3" in lines
    assert "inferry_hub_devices 2" in lines
    assert "inferry_hub_connected 1" in lines
    for line in lines:
        assert re.fullmatch(
            r"# (HELP|TYPE) \S+ .+|[a-z_]+(\{[a-z]+=\"[^\"]*\"\})? [0-9.e+-]+", line
        )


def test_every_counter_is_described() -> None:
    counted = set()
    for file in HUB.glob("*.py"):
        counted |= set(re.findall(r'"([a-z_]+_total)"', file.read_text()))
    assert counted == set(HELP)


def test_labels_are_escaped() -> None:
    found = text({("refused_total", 'a"\n\\'): 1}, {})
    assert 'reason="a\\"\\n\\\\"' in found


def test_metrics_and_health_are_served(database: Database) -> None:
    with running(database) as hub, MetricsServer(hub.service, "127.0.0.1", 0) as server:
        assert get(server.port, "/metrics")[0] == 200
        status, body = get(server.port, "/healthz")
        assert (status, json.loads(body)) == (200, {"healthy": True, "broker": False})
        assert get(server.port, "/")[0] == 404
        hub.service.stop()
        assert get(server.port, "/healthz")[0] == 503


def test_a_silent_client_does_not_hold_up_others_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.hub.metrics.CLIENT_TIMEOUT_S", 0.05)
    with (
        running(database) as hub,
        MetricsServer(hub.service, "127.0.0.1", 0) as server,
        socket.create_connection(("127.0.0.1", server.port)),
    ):
        assert get(server.port, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_said(database: Database) -> None:
    with running(database) as hub, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="name another port"):
            MetricsServer(hub.service, "127.0.0.1", port)
