"""What an idle device costs in a day (T8), with TLS and client certificates.

    python -m benchmarks.edge.idle                    # prints figures as JSON
    python -m benchmarks.edge.idle --seconds 3600     # measures for so long

Measured: a real link and mosquitto, as enrolment configures both. The kernel's counters of the
link's socket (TCP_INFO: segments and bytes, both ways) are read after the connection was made,
after pings at a keepalive of 5 s, which are the same packets as at any other, and after reports of
a device with one module. Computed: a day of such pings at each keepalive, of regular reports, and
the connection made anew so often. Each segment counts with 52 bytes of headers (IPv4 20, TCP 32
with timestamps); acknowledgements without data are segments too. Pings that a report makes needless
are counted all the same. Telemetry is not in it: that has a budget of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from benchmarks.outcome import Finding
from edge import topics
from edge.enrolment import Authority, broker_files, write_files
from edge.enrolment.files import SECRET, File
from edge.link.mqtt import LinkConfig, MqttLink, Tls
from edge.link.port import Message
from edge.messages.codec import VERSION, encode
from edge.messages.reported import HostReport, ModuleReport, OutboxReport, Reported

REACH_BYTES = 100_000
DAY_S = 86_400
HEADER_BYTES = 52
RATES_S = ((60, 300), (300, 300), (900, 300), (900, 3600))
"""Keepalive, and between two regular reports (edge/agent/config.py): by default; between; on a
metered link with the default of the reports; and with the one that the guide recommends there."""
REPORTS = 10
MEASURED_AT_S = 5
RECONNECTIONS = 4
"""In a day, as a bad mobile link would have them."""
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
TCP_INFO_BYTES_ACKED = 120
TCP_INFO_SEGMENTS = 136
"""Where struct tcp_info (linux/tcp.h) has them, since Linux 4.2."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one connection so far, both ways together."""

    payload_bytes: int
    segments: int

    @property
    def wire_bytes(self) -> int:
        """With headers."""
        return self.payload_bytes + self.segments * HEADER_BYTES

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.payload_bytes - other.payload_bytes, self.segments - other.segments)


@dataclass(frozen=True, slots=True)
class Day:
    """Bytes with headers of TCP and IP, and without."""

    wire_bytes: float
    payload_bytes: float


@dataclass(frozen=True, slots=True)
class Seen:
    """``connection``: to make one, up to the last SUBACK. ``pings``: so many were exchanged, at
    the cost of ``idle``, in ``seconds``. ``reports``: REPORTS of them."""

    connection: Traffic
    idle: Traffic
    pings: int
    seconds: float
    reports: Traffic

    def day(self, keepalive_s: float, report_s: float) -> Day:
        """Computed."""
        pings, reports = DAY_S / keepalive_s, DAY_S / report_s
        connections = 1 + RECONNECTIONS

        def of(one: Callable[[Traffic], int]) -> float:
            each_ping, each_report = one(self.idle) / self.pings, one(self.reports) / REPORTS
            return each_ping * pings + each_report * reports + one(self.connection) * connections

        return Day(of(lambda part: part.wire_bytes), of(lambda part: part.payload_bytes))


def measure(folder: Path, seconds: float, keepalive_s: int = MEASURED_AT_S) -> Seen:
    """One link for ``seconds``, which says nothing by itself."""
    authority = Authority.load_or_create(folder / "ca")
    device = authority.issue_device("idle")
    files = {
        "ca.pem": File(authority.pem),
        "device.pem": File(device.certificate),
        "device.key": File(device.key, SECRET),
    }
    write_files(folder / "device", files)
    own = folder / "device"
    tls = Tls(own / "ca.pem", own / "device.pem", own / "device.key")
    with _mosquitto(authority, folder / "broker") as port:
        config = LinkConfig(
            "idle", "127.0.0.1", port, tls, keepalive_s=keepalive_s, min_wait_s=0.01
        )
        link, ready = MqttLink(config), threading.Event()
        link.start(
            subscriptions=topics.downward_filters("idle"),
            on_message=lambda _: None,
            on_connected=ready.set,
        )
        try:
            if not ready.wait(20):
                raise RuntimeError(f"no connection: {link.last_error}")
            return _watch(link, seconds, keepalive_s)
        finally:
            link.stop()


def _watch(link: MqttLink, seconds: float, keepalive_s: int) -> Seen:
    connection = link._connection
    assert connection is not None
    found = connection._client.socket()
    assert isinstance(found, socket.socket)
    time.sleep(1)  # the last acknowledgements of the handshake
    first = traffic(found)
    pings = max(1, round(seconds / keepalive_s))
    began_s = time.monotonic()
    time.sleep(pings * keepalive_s + min(2.5, keepalive_s / 2))
    last = traffic(found)
    took_s = time.monotonic() - began_s
    for number in range(REPORTS):
        link.publish(report(number))
        time.sleep(0.2)  # each has its own answer, and its own acknowledgement of TCP
    reported = traffic(found) - last
    if not link.is_connected or link.connections:
        raise RuntimeError(f"the connection did not hold: {link.last_error}")
    return Seen(first, last - first, pings, took_s, reported)


def report(number: int) -> Message:
    """Of a device with one module in a container, as it is for most of its life."""
    digest = "sha256:" + "0123456789abcdef" * 4
    module = ModuleReport(
        "sorter", f"hub.example:5000/digits@{digest}", digest, digest, "idle", "healthy",
        host="docker", started_at_ms=1_795_725_000_000, previous=digest, port=5001,
    )  # fmt: skip
    host = HostReport(
        24_000_000_000, 32_000_000_000, 1_500_000_000, 4_000_000_000, 0.15, 864_000.5,
        "0f0e0d0c-0b0a-4908-8706-050403020100", 48.5,
    )  # fmt: skip
    said = Reported(
        VERSION, "idle", 7, number, 12, 12, (module,), host, OutboxReport(3, 4096, 12.5),
        agent_version="0.5.0", time_ms=1_795_725_000_000 + number,
    )  # fmt: skip
    return Message(topics.topic("idle", topics.REPORTED), encode(said), True)


def traffic(connected: socket.socket) -> Traffic:
    """By the kernel's counters."""
    info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    acked, received = struct.unpack_from("=QQ", info, TCP_INFO_BYTES_ACKED)
    sent, heard = struct.unpack_from("=II", info, TCP_INFO_SEGMENTS)
    return Traffic(acked + received, sent + heard)


@contextmanager
def _mosquitto(authority: Authority, folder: Path) -> Iterator[int]:
    port, place = free_port(), PurePosixPath(folder)
    files = broker_files(
        authority, ["127.0.0.1"], folder=place, port=port, address="127.0.0.1", data=place
    )
    write_files(folder, files)
    settings = folder / "mosquitto.conf"
    if os.geteuid() == 0:
        settings.write_text(settings.read_text() + "user root\n")
    with (folder / "log").open("wb") as log:
        broker = subprocess.Popen([MOSQUITTO or "mosquitto", "-c", settings], stderr=log)
    try:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield port
    finally:
        broker.terminate()
        broker.wait(10)


def free_port() -> int:
    """Of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def findings(seen: Seen) -> list[Finding]:
    """Rows for the report. Pure."""
    how = (
        f"{seen.idle.wire_bytes / seen.pings:.0f} bytes a ping exchange on the wire ({seen.pings}"
        f" measured in {seen.seconds:.0f} s), {seen.reports.wire_bytes / REPORTS:,.0f} a report"
        f" ({REPORTS} measured), {seen.connection.wire_bytes:,} a connection, made"
        f" {1 + RECONNECTIONS} times a day"
    )
    found = []
    for keepalive_s, report_s in RATES_S:
        day = seen.day(keepalive_s, report_s)
        is_asked = (keepalive_s, report_s) == RATES_S[-1]
        found.append(
            Finding(
                f"idle device with TLS, keepalive {keepalive_s} s, a report each {report_s} s:"
                " bytes a day",
                f"<= {REACH_BYTES // 1000} kB" if is_asked else "-",
                f"{day.wire_bytes / 1000:.0f} kB with headers of TCP/IP,"
                f" {day.payload_bytes / 1000:.0f} kB without (computed: {how})",
                day.wire_bytes <= REACH_BYTES if is_asked else None,
            )
        )
    return found


def idle(seconds: float) -> list[Finding]:
    """All of RATES_S, from one measure."""
    with tempfile.TemporaryDirectory() as folder:
        return findings(measure(Path(folder), seconds))


def main() -> None:
    """Prints figures as JSON."""
    parser = argparse.ArgumentParser(description="bytes a day of an idle device with TLS")
    parser.add_argument("--seconds", type=float, default=120.0)
    print(
        msgspec.json.format(
            msgspec.json.encode(idle(parser.parse_args().seconds)), indent=2
        ).decode()
    )


if __name__ == "__main__":
    main()
