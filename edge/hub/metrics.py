"""The hub's metrics in Prometheus' text format, and a small listener for them and for health.

with MetricsServer(service, "127.0.0.1", 9101) as server:
    server.port
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

from edge.errors import ConfigError, EdgeError
from edge.hub import telemetry
from edge.hub.counters import Key
from edge.hub.service import HubService

PREFIX = "inferry_hub_"
CLIENT_TIMEOUT_S = 2.0
POLL_S = 0.1
HELP = {
    "acknowledgements_total": ("", "Acknowledgements given to the broker."),
    "batches_total": ("", "Batches of telemetry that were read."),
    "commands_published_total": ("", "Commands given to the broker, again ones too."),
    "commit_seconds_total": ("", "Time of transactions that store what devices say."),
    "commits_total": ("", "Such transactions."),
    "connections_total": ("", "Connections to the broker."),
    "desired_published_total": ("", "Desired states given to the broker."),
    "dropped_total": ("cause", "Messages that found no room, or could not be stored."),
    "failed_total": ("part", "Failures of the hub's own parts, each tried again."),
    "holes_total": ("", "Batches that came before one that is missing."),
    "lost_records_total": ("", "Records that devices said are lost, or that the hub has lost."),
    "messages_total": ("kind", "Statuses, reports and replies that were new."),
    "records_total": ("", "Records stored."),
    "refused_total": ("reason", "Messages that were not taken."),
    "repeated_records_total": ("", "Records that were there already."),
    "stale_total": ("kind", "Statuses, reports and replies that said nothing new."),
    "stored_bytes_total": ("", "Telemetry stored, deflated."),
}
"""Counters: name -> (its label, what it counts)."""


def text(counted: Mapping[Key, float], gauges: Mapping[str, tuple[float, str]]) -> str:
    """Prometheus' format, version 0.0.4. ``gauges``: name -> (value, what it is)."""
    lines: list[str] = []
    for name, (label, words) in sorted(HELP.items()):
        lines += [f"# HELP {PREFIX}{name} {words}", f"# TYPE {PREFIX}{name} counter"]
        values = {key[1]: value for key, value in counted.items() if key[0] == name}
        if not label:
            lines.append(f"{PREFIX}{name} {values.get('', 0):.15g}")
        lines += [
            f'{PREFIX}{name}{{{label}="{_escape(of)}"}} {value:.15g}'
            for of, value in sorted(values.items())
            if label
        ]
    for name, (value, words) in sorted(gauges.items()):
        lines += [f"# HELP {PREFIX}{name} {words}", f"# TYPE {PREFIX}{name} gauge"]
        lines.append(f"{PREFIX}{name} {value:.15g}")
    return "\n".join(lines) + "\n"


def metrics_text(service: HubService) -> str:
    """Of a running hub. Raises HubError."""
    with service.database.reader() as connection:
        known, online = connection.execute(
            "SELECT count(*), coalesce(sum(online), 0) FROM devices"
        ).fetchone()
        stored = telemetry.totals(connection)
    gauges: dict[str, tuple[float, str]] = {
        "connected": (int(service.is_connected), "1 while the broker is reached."),
        "devices": (known, "Devices that are enrolled."),
        "devices_online": (online, "Devices that are there."),
        "inbox_bytes": (service.inbox.size_bytes(), "What was heard and is not yet stored."),
        "telemetry_records": (stored["records"], "Records in the database."),
        "telemetry_bytes": (stored["size_bytes"], "Their size, deflated."),
        "retention_dropped_records": (stored["dropped_records"], "Removed by age or size, ever."),
        "retention_dropped_bytes": (stored["dropped_bytes"], "Their size, deflated."),
    }
    return text(service.counters.all(), gauges)


class MetricsServer:
    """GET /metrics and /healthz (200 or 503). One request at a time, and no slow client for long.
    ``port`` 0: any free one. Raises ConfigError when the address is taken."""

    def __init__(self, service: HubService, address: str, port: int) -> None:
        try:
            self._server = HTTPServer((address, port), _handler(service))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"metrics cannot be served on {address}:{port} ({reason}); name another port"
            ) from error
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="hub metrics", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(CLIENT_TIMEOUT_S * 2)


def _handler(service: HubService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT_S
        server_version = "inferry"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            try:
                if path == "/metrics":
                    self._answer(200, metrics_text(service), "text/plain; version=0.0.4")
                elif path == "/healthz":
                    is_healthy = service.is_healthy
                    words = {"healthy": is_healthy, "broker": service.is_connected}
                    self._answer(200 if is_healthy else 503, json.dumps(words) + "\n")
                else:
                    self._answer(404, '{"error": "there is /metrics and /healthz"}\n')
            except EdgeError as error:
                self._answer(503, json.dumps({"error": str(error)}) + "\n")

        def _answer(self, status: int, body: str, kind: str = "application/json") -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing: a probe each few seconds is no news."""

    return Handler


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
