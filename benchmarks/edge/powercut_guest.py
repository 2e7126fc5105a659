"""Within the virtual machine of powercut.py: says what the disk holds after the last cut; then
writes, and says what it was told is durable, until the power is cut again. One line each:

    LIFE life               the outbox's
    BASE stream base next_seq
    HAVE stream seq n       a record that the outbox holds
    IMAGE digest ok|bad     an image that is marked as whole
    BLOBS count empty wrong files of the store
    COLLECTED               images go, from now on
    CHECKED                 now it writes
    APPENDED stream seq n   durable
    ACKED stream seq        up to there records go, from now on
    MARKED digest           durable
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from pathlib import Path

from edge.clock import DeviceClock, boot_id
from edge.outbox.outbox import Outbox
from edge.outbox.record import NewRecord
from edge.stock.device_stock import DeviceStock

HELD = 400
"""Of one stream, before some are acknowledged."""
MAX_BLOBS = 300


def say(*words: object) -> None:
    """At once, and whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def check_outbox(box: Outbox) -> None:
    """What is there."""
    say("LIFE", box.life)
    for stream, state in box.streams.items():
        say("BASE", stream, state.base, state.next_seq)
        after = 0
        while (batch := box.batch(stream, after)) is not None:
            for record in batch.records:
                say("HAVE", stream, record.seq, json.loads(bytes(record.body))["n"])
            for gap in batch.gaps:
                say("GAP", stream, gap.first, gap.last, gap.reason)
            after = batch.last


def check_stock(stock: DeviceStock, folder: Path) -> None:
    """Each marked image, and each file under its digest's name."""
    for digest in stock._marks.all():
        say("IMAGE", digest.digest, "ok" if stock.has(digest.digest) else "bad")
    count = empty = wrong = 0
    for path in folder.iterdir():
        data = path.read_bytes()
        count += 1
        empty += not data
        wrong += hashlib.sha256(data).hexdigest() != path.name
    say("BLOBS", count, empty, wrong)
    if count > MAX_BLOBS:
        say("COLLECTED")
        stock.collect([], 10**15)


def append(box: Outbox, stream: int, dice: random.Random) -> None:
    """For ever."""
    while True:
        numbers = [dice.randrange(10**9) for _ in range(dice.choice((1, 1, 3, 20)))]
        padding = "x" * dice.choice((10, 200, 3000))
        records = [
            NewRecord(stream, "m", "k", json.dumps({"n": n, "pad": padding}).encode())
            for n in numbers
        ]
        for seq, number in zip(box.append(records), numbers, strict=True):
            say("APPENDED", stream, seq, number)


def acknowledge(box: Outbox, dice: random.Random) -> None:
    """For ever, some of what is there."""
    while True:
        time.sleep(0.05)
        for stream, state in box.streams.items():
            if state.next_seq - state.base > HELD and box.batch(stream, 0) is not None:
                seq = state.base + dice.randrange(HELD // 2)
                say("ACKED", stream, seq)
                box.acknowledge(stream, min(seq, state.next_seq - 1))


def write_images(stock: DeviceStock, dice: random.Random) -> None:
    """For ever."""
    while True:
        blobs = dict(
            stock.blobs.put([dice.randbytes(dice.choice((1, 5_000, 200_000))) for _ in range(3)])
            for _ in range(3)
        )
        digest = next(iter(blobs))
        stock.mark(digest, blobs, ())
        say("MARKED", digest)
        time.sleep(0.02)


def main() -> None:
    """In ``/data``."""
    state, dice = Path("/data/state"), random.Random(os.urandom(8))
    state.mkdir(exist_ok=True)
    clock = DeviceClock(state / "clock.json")
    clock.observe(1_800_000_000_000 + clock.mono_ms(), int(clock.mark()))
    box = Outbox(state / "outbox.db", clock)
    stock = DeviceStock(state, reserve_bytes=0, boot_id=boot_id())
    check_outbox(box)
    check_stock(stock, stock.blobs.paths.blobs)
    say("CHECKED")
    for work, rest in (
        (append, (box, 0)), (append, (box, 1)), (append, (box, 1)), (append, (box, 2)),
        (acknowledge, (box,)), (write_images, (stock,)),
    ):  # fmt: skip
        threading.Thread(
            target=work, args=(*rest, random.Random(dice.random())), daemon=True
        ).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
