"""How fast the outbox takes telemetry that must survive a power cut, on this machine's disk.

    python -m benchmarks.edge.outbox [--folder /on/the/disk] [--quick]

Prints a JSON list of {what, reach, measured, reached}: durable batches, the same by threads that
share commits, one record at a time, what SQLite itself does with the same rows (the ceiling), and
synchronous=NORMAL, which a power cut may rob of its last commits.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

from edge.clock import DeviceClock
from edge.outbox import database
from edge.outbox.outbox import Outbox
from edge.outbox.record import STREAMS, NewRecord, OutboxSettings, StreamLimits

REACH_PER_S = 10_000
REACH_SINGLE_MS = 50.0
BATCH = 500
THREADS = 4


def _records(count: int) -> list[NewRecord]:
    """Of 1 kB each."""
    dice = random.Random(1)
    found = []
    for number in range(count):
        body = {"n": number, "values": [round(dice.uniform(0, 100), 3) for _ in range(120)]}
        data = json.dumps(body, separators=(",", ":")).encode()
        padding = b'{"pad":"' + b"x" * (1000 - len(data) - 11) + b'",' if len(data) < 985 else b"{"
        found.append(NewRecord(1, "bench", "reading", padding + data[1:]))
    return found


def _opened(path: Path, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Outbox:
    limits = (StreamLimits(max_bytes=2**31, max_records=2**31),) * STREAMS
    settings = OutboxSettings(streams=limits, synchronous=synchronous)
    return Outbox(path, DeviceClock(None), settings)


def _per_s(count: int, work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def batches(path: Path, records: list[NewRecord], synchronous: Literal["FULL", "NORMAL"]) -> float:
    """Records a second, one caller that waits for each batch."""
    box = _opened(path, synchronous)

    def work() -> None:
        for i in range(0, len(records), BATCH):
            box.append(records[i : i + BATCH])

    try:
        return _per_s(len(records), work)
    finally:
        box.close()


def by_threads(path: Path, records: list[NewRecord]) -> float:
    """Records a second, of callers that each wait for one record at a time."""
    box = _opened(path)

    def work(mine: list[NewRecord]) -> None:
        for record in mine:
            box.append([record])

    threads = [
        threading.Thread(target=work, args=(records[i :: 4 * THREADS],)) for i in range(4 * THREADS)
    ]
    try:
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(records) / (time.perf_counter() - began)
    finally:
        box.close()


def single_ms(path: Path, records: list[NewRecord]) -> list[float]:
    """How long one durable record takes, each."""
    box = _opened(path)
    found = []
    try:
        for record in records:
            began = time.perf_counter()
            box.append([record])
            found.append((time.perf_counter() - began) * 1000)
    finally:
        box.close()
    return found


def sqlite_alone(path: Path, records: list[NewRecord]) -> float:
    """Records a second of executemany into the same table, with the same settings."""
    database.open_database(path, "boot").connection.close()
    connection = database.connect(path)
    insert = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?)"
    rows = [
        (
            database.record_id(1, n),
            1,
            n,
            n,
            None,
            each.size_bytes,
            each.source,
            each.kind,
            each.body,
        )
        for n, each in enumerate(records, 1)
    ]

    def work() -> None:
        for i in range(0, len(rows), BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows[i : i + BATCH])
            connection.execute("COMMIT")

    try:
        return _per_s(len(rows), work)
    finally:
        connection.close()


def fsync_ms(folder: Path, count: int = 30) -> float:
    """The disk's: a 4 kB write and fdatasync."""
    found = []
    with open(folder / "fsync", "wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - began) * 1000)
    return median(found)


def measure(folder: Path, count: int) -> list[dict[str, object]]:
    """All of it."""
    records = _records(count)
    few = records[: min(300, count)]
    ceiling = max(sqlite_alone(folder / f"ceiling-{i}.db", records) for i in range(2))
    full = max(batches(folder / f"full-{i}.db", records, "FULL") for i in range(2))
    single = single_ms(folder / "single.db", few)
    threads = by_threads(folder / "threads.db", records[: count // 10])
    normal = batches(folder / "normal.db", records, "NORMAL")
    p99 = quantiles(single, n=100)[98]
    return [
        {
            "what": f"durable records of 1 kB a second, in batches of {BATCH} (FULL)",
            "reach": f">= {REACH_PER_S}",
            "measured": round(full),
            "reached": full >= REACH_PER_S,
        },
        {
            "what": "one durable record: median and 99 % in ms (FULL)",
            "reach": f"median < {REACH_SINGLE_MS:g}",
            "measured": [round(median(single), 2), round(p99, 2)],
            "reached": median(single) < REACH_SINGLE_MS,
        },
        {
            "what": f"durable records a second, {4 * THREADS} callers of one each (FULL)",
            "reach": None,
            "measured": round(threads),
            "reached": None,
        },
        {
            "what": f"the ceiling: SQLite's executemany of the same rows, by {BATCH} (FULL)",
            "reach": None,
            "measured": round(ceiling),
            "reached": None,
        },
        {
            "what": "of the ceiling",
            "reach": None,
            "measured": round(full / ceiling, 2),
            "reached": None,
        },
        {
            "what": "records a second with NORMAL, which a power cut may rob of the last",
            "reach": None,
            "measured": round(normal),
            "reached": None,
        },
        {
            "what": "the disk: fdatasync of 4 kB, median in ms",
            "reach": None,
            "measured": round(fsync_ms(folder), 2),
            "reached": None,
        },
    ]


def main() -> None:
    """Print the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("--quick", action="store_true", help="fewer records")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(Path(folder), 5_000 if arguments.quick else 50_000)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
