"""What runs in the virtual machine of powercut.py, until its power is cut: first it looks at what
the last cut left, then it works on. It says both on the console, a line each:

    @ found FACT            of what is on the disk after a boot
    @ wrong WHAT            what should never be
    @ done FACT             of what is durable now, as the agent's parts said
    @ will FACT             of what is about to be forgotten

Facts: "outbox LIFE STREAM BASE LAST", "image VERSION", "switch VERSION".
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec

from edge.clock import DeviceClock, boot_id
from edge.messages.desired import Module
from edge.outbox.outbox import Outbox
from edge.outbox.record import NewRecord, OutboxSettings
from edge.pull.parts import Part
from edge.stock.device_stock import DeviceStock
from edge.stock.documents import Descriptor
from edge.switch.bundles import ModuleFolders
from edge.switch.machine import State
from edge.switch.record import Record, Records, Release
from registry import media_types
from registry.blobs import BlobStore
from registry.container_config import LAYER_KIND
from registry.image_tree import BUNDLE_ROOT
from registry.layers import bytes_entry, write_layer
from registry.paths import WorkspacePaths

MODEL_BYTES = 200_000
LOW_BYTES = 15_000_000
CONSOLE = threading.Lock()
MODULE = "m"


def say(text: str) -> None:
    """A line on the console. One that comes after a cut was never said."""
    with CONSOLE:
        os.write(1, f"@ {text}\n".encode())


def body(stream: int, seq: int) -> bytes:
    """Of the record with this number, so that one in another's place is found out."""
    text = hashlib.sha256(f"{stream} {seq}".encode()).hexdigest() * (1 + seq % 20)
    return json.dumps({"stream": stream, "n": seq, "text": text}).encode()


def look_at_outbox(box: Outbox) -> None:
    """Every number from the base on has its record, and no other."""
    for stream, state in box.streams.items():
        after, records = state.base - 1, 0
        while (batch := box.batch(stream, after)) is not None:
            for gap in batch.gaps:
                say(f"wrong a gap {gap.reason} of {gap.first} to {gap.last} in stream {stream}")
            for record in batch.records:
                if bytes(record.body) != body(stream, record.seq):
                    say(f"wrong record {record.seq} of stream {stream} is another one")
            after, records = batch.last, records + len(batch.records)
        if after != state.next_seq - 1 or records != state.records:
            say(f"wrong stream {stream} counts {state.records} records and has {records}")
        say(f"found outbox {box.life} {stream} {state.base} {state.next_seq - 1}")


def fill_outbox(box: Outbox, stream: int, draw: random.Random) -> None:
    """For ever: some records, and now and then the hub has some."""
    seq = box.streams[stream].next_seq
    while True:
        count = draw.choice((1, 1, 5, 40))
        new = [NewRecord(stream, "m", "reading", body(stream, seq + i)) for i in range(count)]
        box.append(new)
        seq += count
        say(f"done outbox {box.life} {stream} {box.streams[stream].base} {seq - 1}")
        if draw.random() < 0.2:
            batch = box.batch(stream, 0)
            if batch is not None and batch.last < seq - 1:
                say(f"will outbox {box.life} {stream} {batch.last + 1} {seq - 1}")
                box.acknowledge(stream, batch.last)


def model(version: int) -> bytes:
    """Its weights."""
    return random.Random(version).randbytes(MODEL_BYTES)


def make_image(folder: Path, version: int) -> tuple[BlobStore, str, list[Descriptor]]:
    """In memory, as a registry has it: (its store, the manifest's digest, its blobs)."""
    store = BlobStore(WorkspacePaths(folder))
    store.create()
    files = {"bundle.json": b"{}", f"models/net/{version}/w.bin": model(version)}
    entries = [bytes_entry(f"{BUNDLE_ROOT}/{name}", data) for name, data in files.items()]
    layer = write_layer(store, entries, lambda _: None)
    config_digest, config_size = store.put(
        [json.dumps({"rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}).encode()]
    )
    config = Descriptor(media_types.CONFIG, config_digest, config_size)
    stored = Descriptor(
        layer.media_type, layer.digest, layer.size_bytes, annotations={LAYER_KIND: "model"}
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": media_types.BUNDLE,
        "config": msgspec.to_builtins(config),
        "layers": [msgspec.to_builtins(stored)],
        "annotations": {"dev.inferry.name": MODULE, "dev.inferry.version": str(version)},
    }
    digest, size = store.put([msgspec.json.encode(manifest)])
    return store, digest, [stored, config, Descriptor(media_types.MANIFEST, digest, size)]


def fetch(stock: DeviceStock, version: int) -> str:
    """As a pull does, without its network; returns the image's digest."""
    store, digest, blobs = make_image(Path("/run/made") / str(version), version)
    for blob in blobs:
        if stock.has_blob(blob.digest, blob.size):
            continue
        with Part(stock.parts, blob, lambda: None) as part:
            content = store.read(blob.digest)
            for start in range(part.size_bytes, len(content), 50_000):
                part.add(content[start : start + 50_000])
                part.sync()
            part.publish(stock.blobs)
    stock.mark(digest, {blob.digest: blob.size for blob in blobs}, ())
    return digest


def release(digest: str, version: int) -> Release:
    """In service."""
    return Release(Module(MODULE, f"{MODULE}:{version}", digest), digest, "process", "bundle")


def version_of(found: Release | None) -> int:
    """0: none."""
    return 0 if found is None else int(found.module.image.partition(":")[2])


def look_at_store(state: Path, stock: DeviceStock) -> None:
    """What has its name has its bytes."""
    for path in (*(state / "store/blobs").rglob("*"), *(state / "bundles").rglob("*")):
        if path.is_file() and not path.stat().st_size:
            say(f"wrong {path} is empty")
    for path in (state / "store/blobs/sha256").iterdir():
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            say(f"wrong blob {path.name} has other bytes")
            continue
        if path.stat().st_size < 5000 and b'"dev.inferry.version"' in path.read_bytes():
            digest = f"sha256:{path.name}"
            if stock.has(digest):
                say(f"found image {stock.image(digest).version}")


def look_at_switch(folders: ModuleFolders, record: Record) -> None:
    """What is in service is whole, and is what the agent remembers, or the one before it."""
    live, previous, served = record.live, record.previous, folders.served("live")
    say(f"found switch {version_of(live)}")
    known = {each.module.digest: each for each in (live, previous) if each is not None}
    if served is None:
        if record.at is not State.SWITCHING and live is not None:
            say("wrong nothing is in service")
        return
    if record.at is not State.SWITCHING and live is not None and served != live.module.digest:
        say(f"wrong {served} is in service, and not version {version_of(live)}")
    if served not in known:
        say(f"wrong {served} is in service, which nobody remembers")
        return
    version = version_of(known[served])
    weights = folders.slot("live") / "current" / f"models/net/{version}/w.bin"
    if not weights.is_file() or weights.read_bytes() != model(version):
        say(f"wrong version {version} is in service and its weights are not whole")


def switch(
    stock: DeviceStock, folders: ModuleFolders, records: Records, digest: str, version: int
) -> None:
    """As service.py does, without an instance."""
    before = records.load(MODULE)
    new = release(digest, version)
    previous = before.live if before.live != new else before.previous
    records.put(MODULE, Record(State.SWITCHING.value, new, previous))
    folders.put("live", digest)
    folders.serve("live", digest)
    records.put(MODULE, Record(State.IDLE.value, new, previous))
    say(f"done switch {version}")
    keep = {new.module.digest} | ({previous.module.digest} if previous else set())
    folders.clean("live", keep)
    if stock.free_bytes() < LOW_BYTES:
        say(f"will image {version - 2}")
        stock.collect(sorted(keep), 2 * LOW_BYTES)


def update(stock: DeviceStock, folders: ModuleFolders, records: Records) -> None:
    """For ever: a step that a cut ended, forward; then version after version."""
    version = version_of(records.load(MODULE).live)
    if records.load(MODULE).at is not State.SWITCHING:
        version += 1
    while True:
        digest = fetch(stock, version)
        say(f"done image {version}")
        stock.bundle(digest)
        switch(stock, folders, records, digest, version)
        version += 1


def main(state: Path, synchronous: Literal["FULL", "NORMAL"]) -> None:
    """Until the power is cut."""
    draw = random.Random()
    clock = DeviceClock(state / "clock.json")
    with (
        closing(Outbox(state / "outbox.db", clock, OutboxSettings(synchronous=synchronous))) as box,
        closing(DeviceStock(state, reserve_bytes=0, boot_id=boot_id())) as stock,
        closing(Records(state / "state.db")) as records,
    ):
        folders = ModuleFolders(state, MODULE, stock)
        folders.make()
        look_at_outbox(box)
        look_at_store(state, stock)
        look_at_switch(folders, records.load(MODULE))
        say("ready")
        for stream in range(2):
            threading.Thread(
                target=fill_outbox, args=(box, stream, random.Random(draw.random())), daemon=True
            ).start()
        update(stock, folders, records)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), "NORMAL" if sys.argv[2] == "NORMAL" else "FULL")
    except BaseException as error:
        say(f"wrong it failed: {error!r}")
        raise
