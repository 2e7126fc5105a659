"""How many records a second the hub makes durable, on this machine.

A process of its own plays many devices. Each has a few batches of 100 records of about 1 kB under
way and sends the next ones as they are acknowledged; what is not acknowledged for a while is sent
again. The hub is the real one: link, inbox, inflating and checking, one transaction of SQLite with
synchronous=FULL for what has come, acknowledgements. At the end the database is read: each record
must be there once.

    python -m benchmarks.edge.ingest                  # over a pipe: the hub alone
    python -m benchmarks.edge.ingest --broker         # through mosquitto, with the real links
    python -m benchmarks.edge.ingest --profile        # where the time of the storing thread goes
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import cast

import msgspec

from edge import topics
from edge.hub import devices as enrolled
from edge.hub.database import Database
from edge.hub.service import HubService, now_ms
from edge.hub.telemetry import Query, records
from edge.link.port import Message, OnConnected, OnMessage
from edge.messages import codec
from edge.messages.telemetry import Ack, Batch, Record

RECORDS = 100
BODY_BYTES = 1_000
WINDOW = 4
"""Batches of a device under way."""
RESEND_S = 5.0
REACH = 20_000
LIFE = "simulated"


@dataclass(frozen=True, slots=True)
class Figure:
    """What RESULTS.md shows. ``reach``: what is asked for, in the unit of ``measured``."""

    what: str
    reach: float
    measured: float
    reached: bool
    details: dict[str, float | str]


class PipeLink:
    """A Link whose other end is the process of devices; no broker."""

    def __init__(self, connection: Connection) -> None:
        self.is_connected = True
        self._connection = connection
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(
        self,
        *,
        subscriptions: Sequence[str],
        on_message: OnMessage,
        on_connected: OnConnected,
        will: Message | None = None,
    ) -> None:
        def read() -> None:
            on_connected()
            with suppress(EOFError, OSError):
                while True:
                    topic, _, payload = self._connection.recv_bytes().partition(b"\0")
                    on_message(Message(topic.decode(), payload))

        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()

    def publish(self, message: Message) -> bool:
        with self._sending:
            try:
                self._connection.send_bytes(message.topic.encode() + b"\0" + message.payload)
            except OSError:
                return False
        return True

    def stop(self, last: Message | None = None) -> None:
        self.is_connected = False
        self._connection.close()


def payloads(count: int, seed: int = 5) -> list[bytes]:
    """Batches of one stream, as an outbox sends them. Numbers like those of a sensor: they have
    digits that do not repeat, so that they deflate to about two fifths."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        first = number * RECORDS + 1
        rows = [_record(seq, draw) for seq in range(first, first + RECORDS)]
        batch = Batch(codec.VERSION, LIFE, 0, 1, first, first + RECORDS - 1, rows)
        made.append(codec.deflate(codec.encode(batch)))
    return made


def _record(seq: int, draw: random.Random) -> Record:
    body: dict[str, object] = {"line": "north", "state": "running", "values": {}}
    values = cast("dict[str, float]", body["values"])
    while len(encoded := json.dumps(body).encode()) < BODY_BYTES:
        values[f"sensor_{len(values)}"] = round(draw.gauss(20, 5), 4)
    return Record(seq, 1_800_000_000_000 + seq * 100, seq * 100, "digits", "metrics",
                  msgspec.Raw(encoded))  # fmt: skip


class Devices:
    """All the simulated ones: what each has acknowledged, and what it sends next. ``publish`` takes
    the number of a device and a payload."""

    def __init__(self, count: int, batches: int, publish: Callable[[int, bytes], bool]) -> None:
        self.count = count
        self.payloads = payloads(batches)
        self.is_done = threading.Event()
        self.resent = 0
        self._publish = publish
        self._lock = threading.RLock()
        self._acked = [0] * count
        self._sent = [0] * count
        self._heard_s = [0.0] * count
        self._left = count

    def run(self) -> None:
        """Until all is acknowledged."""
        for device in range(self.count):
            self._send(device)
        while not self.is_done.wait(0.1):
            now_s = time.monotonic()
            for device in range(self.count):
                with self._lock:
                    if self._acked[device] == len(self.payloads):
                        continue
                    if now_s - self._heard_s[device] > RESEND_S:
                        self.resent += self._sent[device] - self._acked[device]
                        self._sent[device] = self._acked[device]
                self._send(device)

    def hear(self, device: int, payload: bytes) -> None:
        """An acknowledgement."""
        ack = codec.decode(payload, Ack)
        batches = max((stream.seq for stream in ack.streams), default=0) // RECORDS
        with self._lock:
            if ack.life != LIFE or batches <= self._acked[device]:
                return
            self._acked[device] = batches
            self._heard_s[device] = time.monotonic()
            self._left -= batches == len(self.payloads)
            if not self._left:
                self.is_done.set()
        self._send(device)

    def _send(self, device: int) -> None:
        with self._lock:
            while self._sent[device] < min(self._acked[device] + WINDOW, len(self.payloads)):
                if not self._publish(device, self.payloads[self._sent[device]]):
                    return
                self._sent[device] += 1
                self._heard_s[device] = time.monotonic()


def play_devices(address: str, count: int, batches: int) -> None:
    """The other process, over a pipe."""
    with Client(address, "AF_UNIX") as connection:
        names = [
            topics.topic(name_of(device), topics.TELEMETRY).encode() for device in range(count)
        ]
        sending = threading.Lock()

        def publish(device: int, payload: bytes) -> bool:
            with sending:
                connection.send_bytes(names[device] + b"\0" + payload)
            return True

        played = Devices(count, batches, publish)
        print("ready", flush=True)
        sys.stdin.readline()

        def listen() -> None:
            with suppress(EOFError, OSError):
                while True:
                    topic, _, payload = connection.recv_bytes().partition(b"\0")
                    device, kind = topics.parse(topic.decode())
                    if kind == topics.ACK:
                        played.hear(int(device.removeprefix("device-")), payload)

        threading.Thread(target=listen, daemon=True).start()
        played.run()
        print(json.dumps({"resent": played.resent}), flush=True)
        sys.stdin.readline()


def name_of(number: int) -> str:
    """Of a simulated device."""
    return f"device-{number}"


def measure_pipe(count: int, batches: int, folder: Path, *, is_profiled: bool = False) -> Figure:
    """The hub without a broker."""
    database = prepare(folder, count)
    address = str(folder / "pipe")
    with (
        Listener(address, "AF_UNIX") as listener,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.edge.ingest", "--play", address,
             "--devices", str(count), "--batches", str(batches)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        service = HubService(database, PipeLink(listener.accept()), lambda *_: None)
        if is_profiled:
            _profile(service)
        return _time("hub ingest, durable, records/s", database, service, process, count, batches)


def prepare(folder: Path, count: int) -> Database:
    """A hub's database with the devices enrolled."""
    database = Database(folder / "hub.db")
    database.migrate()
    for device in range(count):
        enrolled.enrol(database, name_of(device), now_ms=now_ms())
    return database


def _time(
    what: str,
    database: Database,
    service: HubService,
    process: subprocess.Popen[str],
    count: int,
    batches: int,
) -> Figure:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    service.start()
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
        began_s, cpu_s = time.perf_counter(), time.process_time()
        answer = json.loads(process.stdout.readline())
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        process.stdin.write("end\n")
        process.stdin.close()
        process.wait(30)
    finally:
        service.stop()
    total = count * batches * RECORDS
    check_each_is_there_once(database, count, batches)
    counted = {name: value for (name, _), value in service.counters.all().items()}
    rate = total / took_s
    return Figure(
        what,
        REACH,
        round(rate),
        rate >= REACH,
        {
            "records": total,
            "devices": count,
            "seconds": round(took_s, 2),
            "commits": counted["commits_total"],
            "records_per_commit": round(total / counted["commits_total"]),
            "commit_ms": round(counted["commit_seconds_total"] / counted["commits_total"] * 1e3, 2),
            "deflated_bytes_per_record": round(counted["stored_bytes_total"] / total),
            "hub_cpu_s": round(cpu_s, 2),
            "resent_batches": answer["resent"],
            "dropped_batches": counted.get("dropped_total", 0),
        },
    )


def check_each_is_there_once(database: Database, count: int, batches: int) -> None:
    """Reads some devices' records whole, and the numbers of all. Raises AssertionError."""
    with database.reader() as connection:
        total = connection.execute("SELECT sum(last - first + 1), sum(records) FROM segments")
        assert tuple(total.fetchone()) == (count * batches * RECORDS,) * 2
        highs = [row[0] for row in connection.execute("SELECT high FROM streams")]
        assert highs == [batches * RECORDS] * count
        for device in {0, count // 2, count - 1}:
            page = records(connection, Query(device=name_of(device)), limit=10**9)
            assert [one.seq for one in page.records] == list(range(1, batches * RECORDS + 1))


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
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--batches", type=int, default=40, help="of each device")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: a temporary")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.play:
        play_devices(asked.play, asked.devices, asked.batches)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        figure = measure_pipe(asked.devices, asked.batches, Path(folder), is_profiled=asked.profile)
    print(json.dumps([asdict(figure)], indent=2))


if __name__ == "__main__":
    main()
