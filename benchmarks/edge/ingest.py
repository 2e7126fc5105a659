"""How many records a second the hub makes durable, on this machine.

Simulated devices (simulated.py, a process of its own) send batches of 100 records of about 1 kB.
The hub is the real one: link, inbox, inflating and checking, one transaction of SQLite with
synchronous=FULL for what has come, acknowledgements. At the end the database is read: each record
must be there once.

    python -m benchmarks.edge.ingest                  # over a pipe: the hub alone
    python -m benchmarks.edge.ingest --broker --devices 20   # through mosquitto, with real links
    python -m benchmarks.edge.ingest --records 10     # in each batch
    python -m benchmarks.edge.ingest --profile        # where the time of the storing thread goes
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Listener
from pathlib import Path

import msgspec

from benchmarks.edge.simulated import Load, PipeLink, name_of
from edge.hub import devices
from edge.hub.database import Database
from edge.hub.service import HubService, now_ms
from edge.hub.telemetry import Query, records
from edge.link.mqtt import LinkConfig, MqttLink

REACH = 20_000
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@dataclass(frozen=True, slots=True)
class Figure:
    """What RESULTS.md shows. ``reach``: what is asked for, in the unit of ``measured``."""

    what: str
    reach: float
    measured: float
    reached: bool
    details: dict[str, float]


def measure_pipe(load: Load, folder: Path, *, is_profiled: bool = False) -> Figure:
    """The hub without a broker."""
    database = prepare(folder, load)
    address = str(folder / "pipe")
    with Listener(address, "AF_UNIX") as listener, start_devices(load, "pipe", address) as process:
        service = HubService(database, PipeLink(listener.accept()), lambda *_: None)
        if is_profiled:
            _profile(service)
        what = f"hub ingest, durable, batches of {load.records}: records/s"
        return measure(what, load, database, service, process)


def measure_broker(load: Load, folder: Path) -> Figure:
    """The hub, mosquitto, and a connection of each device, without TLS."""
    database = prepare(folder, load)
    with mosquitto(folder) as port, start_devices(load, "broker", str(port)) as process:
        config = LinkConfig(
            "hub", "127.0.0.1", port, min_wait_s=0.01, max_in_flight=200, max_queued=2_000
        )
        service = HubService(database, MqttLink(config), lambda *_: None)
        what = f"hub ingest through mosquitto, durable, batches of {load.records}: records/s"
        return measure(what, load, database, service, process)


@contextmanager
def mosquitto(folder: Path, port: int = 0) -> Iterator[int]:
    """A broker for the block; its port (0: any free one). It keeps nothing on disk."""
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_inflight_messages 200\nmax_queued_messages 10000\n"
    )
    with (folder / "mosquitto.log").open("ab") as log:
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


def prepare(folder: Path, load: Load) -> Database:
    """A hub's database with the devices enrolled."""
    database = Database(folder / "hub.db")
    database.migrate()
    for number in range(load.devices):
        devices.enrol(database, name_of(number), now_ms=now_ms())
    return database


def start_devices(load: Load, *where: str) -> subprocess.Popen[str]:
    """Their process."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.edge.simulated", msgspec.json.encode(load), *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def measure(
    what: str, load: Load, database: Database, service: HubService, process: subprocess.Popen[str]
) -> Figure:
    """From the first record that is sent to the last that is acknowledged."""
    assert process.stdin is not None
    assert process.stdout is not None
    service.start()
    try:
        assert process.stdout.readline() == "ready\n"
        began_s, cpu_s = time.perf_counter(), time.process_time()
        while not service.is_connected:
            time.sleep(0.01)
        print("go", file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        print("end", file=process.stdin, flush=True)
        process.wait(30)
    finally:
        service.stop()
    check_each_is_there_once(database, load)
    counted = {name: value for (name, _), value in service.counters.all().items()}
    rate = load.total / took_s
    details = {
        "records": load.total,
        "devices": load.devices,
        "seconds": round(took_s, 2),
        "commits": counted["commits_total"],
        "records_per_commit": round(load.total / counted["commits_total"]),
        "commit_ms": round(counted["commit_seconds_total"] / counted["commits_total"] * 1e3, 2),
        "deflated_bytes_per_record": round(counted["stored_bytes_total"] / load.total),
        "hub_cpu_s": round(cpu_s, 2),
        "resent_batches": answer["resent"],
        "dropped_batches": counted.get("dropped_total", 0),
    }
    return Figure(what, REACH, round(rate), rate >= REACH, details)


def check_each_is_there_once(database: Database, load: Load) -> None:
    """Reads some devices' records whole, and the numbers of all. Raises AssertionError."""
    of_each = load.batches * load.records
    with database.reader() as connection:
        row = connection.execute(
            "SELECT sum(last - first + 1), sum(records) FROM segments"
        ).fetchone()
        assert tuple(row) == (load.total, load.total)
        highs = [row[0] for row in connection.execute("SELECT high FROM streams")]
        assert highs == [of_each] * load.devices
        for number in {0, load.devices // 2, load.devices - 1}:
            page = records(connection, Query(device=name_of(number)), limit=10**9)
            assert [one.seq for one in page.records] == list(range(1, of_each + 1))


def _profile(service: HubService) -> None:
    import cProfile
    import pstats

    receiving = service._receiving
    run = receiving.run

    def profiled(is_stopped: Callable[[], bool]) -> None:
        with cProfile.Profile() as profile:
            run(is_stopped)
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(18)

    receiving.run = profiled  # type: ignore[method-assign]


def main() -> None:
    """Prints figures as JSON."""
    parser = argparse.ArgumentParser(description="durable ingest of the hub, in records a second")
    parser.add_argument("--devices", type=int, default=Load().devices)
    parser.add_argument("--batches", type=int, default=Load().batches, help="of each device")
    parser.add_argument("--records", type=int, default=Load().records, help="of each batch")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a temporary")
    parser.add_argument("--broker", action="store_true")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    load = Load(asked.devices, asked.batches, asked.records)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        if asked.broker:
            figure = measure_broker(load, Path(folder))
        else:
            figure = measure_pipe(load, Path(folder), is_profiled=asked.profile)
    print(json.dumps([asdict(figure)], indent=2))


if __name__ == "__main__":
    main()
