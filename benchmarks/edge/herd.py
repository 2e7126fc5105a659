"""A herd (T9): 2,000 devices lose their broker in one moment, and come back.

    python -m benchmarks.edge.herd                    # prints figures as JSON
    python -m benchmarks.edge.herd --down 60          # the broker is away for so long
    python -m benchmarks.edge.herd --plain            # without TLS

The broker is mosquitto: it is killed and started again. A device here is a connection with TLS and
client certificate, a CONNECT that resumes its session, and a SUBSCRIBE, in one loop; when it is
lost, it waits as edge/link/backoff.py says, the very code of the link. Beside it, the same without
jitter: 1, 2, 4 ... 120 s, as paho does by itself. All devices had been connected for long.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from benchmarks.edge.idle import free_port
from benchmarks.edge.ingest import MOSQUITTO
from benchmarks.outcome import Finding
from edge.broker.packets import (
    Connack,
    Connect,
    Packet,
    Suback,
    Subscribe,
    Subscription,
    decode,
    encode,
)
from edge.broker.wire import Frames, Property
from edge.enrolment import Authority, write_files
from edge.enrolment.files import SECRET, File
from edge.link.backoff import Backoff
from edge.link.mqtt import ANSWER_S, LinkConfig

LONG_UP_S = 3600.0
REACH_S = 60.0
REACH_SHARE = 0.2
"""Of the fleet, in any second."""
DEFAULTS = LinkConfig("", "")


@dataclass(frozen=True, slots=True)
class Load:
    """``down_s``: from the broker's end to its start."""

    devices: int = 2_000
    down_s: float = 5.0
    has_jitter: bool = True
    has_tls: bool = True
    patience_s: float = 180.0
    min_wait_s: float = DEFAULTS.min_wait_s
    seed: int = 7


@dataclass(slots=True)
class Fleet:
    """What the devices did: times of attempts, and when each was back."""

    load: Load
    port: int
    context: ssl.SSLContext | None
    attempts: list[float] = field(default_factory=list)
    online: dict[int, float] = field(default_factory=dict)
    is_over: bool = False
    change: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Seen:
    """``peak``: connects to the broker, once it was back, in the busiest second; ``tenth``: in the
    busiest tenth of one. ``back_s``: from its start until 99 in 100 were online; None: they never
    were. ``in_vain``: attempts while it was away."""

    peak: int
    tenth: int
    back_s: float | None
    all_back_s: float | None
    in_vain: int


def measure(load: Load, folder: Path) -> Seen:
    """One restart."""
    _raise_limit(load.devices + 200)
    broker = _Broker(folder, load)
    broker.start()
    try:
        return asyncio.run(_watch(load, broker))
    finally:
        broker.kill()


async def _watch(load: Load, broker: _Broker) -> Seen:
    fleet = Fleet(load, broker.port, broker.context)
    draw = random.Random(load.seed).random
    gate = asyncio.Semaphore(100)  # they were there before: not a part of the measure
    tasks = [
        asyncio.create_task(_device(number, fleet, draw, gate)) for number in range(load.devices)
    ]
    await _until(fleet, load.devices, load.patience_s)
    if len(fleet.online) < load.devices:
        raise RuntimeError(f"only {len(fleet.online)} devices could connect at first")
    broker.kill()
    fleet.attempts.clear()
    await asyncio.sleep(load.down_s)
    broker.start()
    started = time.monotonic()
    await _until(fleet, load.devices, load.patience_s)
    fleet.is_over = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return _seen(fleet, started)


async def _until(fleet: Fleet, count: int, patience_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while len(fleet.online) < count:
                fleet.change.clear()
                await fleet.change.wait()


def _seen(fleet: Fleet, started: float) -> Seen:
    back = sorted(fleet.online.values())
    wanted = -(-fleet.load.devices * 99 // 100)
    heard = [at for at in fleet.attempts if at >= started]
    return Seen(
        peak=peak(heard, 1.0),
        tenth=peak(heard, 0.1),
        back_s=round(back[wanted - 1] - started, 1) if len(back) >= wanted else None,
        all_back_s=round(back[-1] - started, 1) if len(back) == fleet.load.devices else None,
        in_vain=len(fleet.attempts) - len(heard),
    )


def peak(times: list[float], window_s: float) -> int:
    """The most that lie within any window. Pure."""
    most, first = 0, 0
    ordered = sorted(times)
    for last, at in enumerate(ordered):
        while at - ordered[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


async def _device(
    number: int, fleet: Fleet, draw: Callable[[], float], gate: asyncio.Semaphore
) -> None:
    async with gate:
        found = await _connect(number, fleet)
    backoff = Backoff(fleet.load.min_wait_s, DEFAULTS.max_wait_s)
    while not fleet.is_over:
        if found is None:
            backoff = backoff.failed()
        else:
            fleet.online[number] = time.monotonic()
            fleet.change.set()
            await _held(found)
            del fleet.online[number]
            backoff = backoff.lost(LONG_UP_S)
        await asyncio.sleep(wait_s(backoff, fleet.load.has_jitter, draw))
        fleet.attempts.append(time.monotonic())
        found = await _connect(number, fleet)


def wait_s(backoff: Backoff, has_jitter: bool, draw: Callable[[], float]) -> float:
    """Before the next attempt. Pure."""
    if has_jitter:
        return backoff.wait_s(draw)
    return float(min(backoff.max_s, backoff.min_s * 2.0 ** min(backoff.failures, 32)))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(number: int, fleet: Fleet) -> Streams | None:
    """None: it did not go."""
    name = f"device-{number}"
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                fleet.port,
                ssl=fleet.context,
                server_hostname="localhost" if fleet.context else None,
                limit=4096,
            )
            frames = Frames(1 << 16)
            session = {Property.SESSION_EXPIRY: DEFAULTS.session_s}
            writer.write(encode(Connect(name, False, 900, properties=session)))
            if not isinstance(await _answer(reader, frames), Connack):
                raise OSError
            writer.write(encode(Subscribe(1, (Subscription(f"edge/{name}/down/#", 1),))))
            if not isinstance(await _answer(reader, frames), Suback):
                raise OSError
            return reader, writer
    except (OSError, TimeoutError, EOFError):
        return None


async def _answer(reader: asyncio.StreamReader, frames: Frames) -> Packet:
    while data := await reader.read(4096):
        for frame in frames.feed(data):
            return decode(*frame)
    raise EOFError


async def _held(found: Streams) -> None:
    reader, writer = found
    try:
        while await reader.read(4096):
            continue
    except OSError:
        pass
    finally:
        writer.transport.abort()


class _Broker:
    """mosquitto on a port of its own, with TLS or without."""

    def __init__(self, folder: Path, load: Load) -> None:
        self.port = free_port()
        self.context = _context(folder) if load.has_tls else None
        tls = f"cafile {folder}/ca.pem\ncertfile {folder}/pem\nkeyfile {folder}/key\n"
        tls += "require_certificate true\ntls_version tlsv1.2\n"
        self._settings = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        self._settings.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous true\n"
            f"{tls if load.has_tls else ''}log_type error\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO or "mosquitto", "-c", self._settings], stderr=log
            )

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _context(folder: Path) -> ssl.SSLContext:
    authority = Authority.load_or_create(folder / "ca")
    broker, device = authority.issue_broker(["localhost"]), authority.issue_device("device")
    files = {
        "ca.pem": File(authority.pem),
        "pem": File(broker.certificate),
        "key": File(broker.key, SECRET),
        "device.pem": File(device.certificate),
        "device.key": File(device.key, SECRET),
    }
    write_files(folder, files)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "device.pem", folder / "device.key")
    return context


def _raise_limit(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, files)), hard))


def findings(load: Load, with_jitter: Seen, without: Seen) -> list[Finding]:
    """Rows for the report. Pure."""
    fleet = f"{load.devices:,} devices, broker away for {load.down_s:g} s"
    bound = round(load.devices * REACH_SHARE)
    back = with_jitter.back_s
    return [
        Finding(
            f"herd: connects in the busiest second ({fleet})",
            f"<= {bound}",
            f"{with_jitter.peak} ({with_jitter.tenth} in the busiest 0.1 s); without jitter"
            f" {without.peak} ({without.tenth})",
            with_jitter.peak <= bound,
        ),
        Finding(
            f"herd: until 99 % are back ({fleet})",
            f"<= {REACH_S:g} s",
            f"{_seconds(back)} (all: {_seconds(with_jitter.all_back_s)}); without jitter"
            f" {_seconds(without.back_s)}",
            back is not None and back <= REACH_S,
        ),
    ]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:g} s"


def herd(load: Load) -> list[Finding]:
    """Both ways."""
    seen = []
    for has_jitter in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            seen.append(measure(replace(load, has_jitter=has_jitter), Path(folder)))
    return findings(load, *seen)


def main() -> None:
    """Prints figures as JSON."""
    parser = argparse.ArgumentParser(description="2,000 devices whose broker is restarted")
    parser.add_argument("--devices", type=int, default=Load().devices)
    parser.add_argument("--down", type=float, default=Load().down_s, help="seconds")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    asked = parser.parse_args()
    found = herd(Load(asked.devices, asked.down, has_tls=not asked.plain))
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


if __name__ == "__main__":
    main()
