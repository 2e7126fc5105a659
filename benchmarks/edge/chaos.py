"""T1: what is lost while everything is killed, cut and lied to.

An application posts messages to the agent of a device; each that was answered 202 must be in the
hub's database, once, whatever happens meanwhile: agent, mosquitto and hub are killed (SIGKILL) at
random, the network between device and broker is cut or silent, the device's clock jumps by days
and to 1970. Everything is the real program; TLS and the broker's rules are on.

    python -m benchmarks.edge.chaos                                     # 100,000 messages
    python -m benchmarks.edge.chaos --messages 5000 --rate 250 --kills 12 --cuts 3 --jumps 2
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.edge.fleet import INFERRY, Fleet, free_port
from benchmarks.edge.network import BadNetwork
from edge.hub import telemetry
from edge.hub.database import Database

DEVICE = f"press-{os.getpid()}"
"""Agents of one name on one Docker Engine would stop each other's modules."""
SCRIPT = "import json\ndef init(): ...\ndef run(data): return json.loads(data)\n"
BATCH = 20
"""Messages in one POST."""
ANSWER_S = 10.0
DRAIN_S = 600.0
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
/* The wall clock of one process: the file says how many seconds to add. (libfaketime: sleeps
   fail.) */
static long long shift(void) {
    long long found = 0;
    FILE *file = fopen(getenv("CHAOS_CLOCK"), "r");
    if (file) { if (fscanf(file, "%lld", &found) != 1) found = 0; fclose(file); }
    return found;
}
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, at);
    if (!result && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
    return result;
}
int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
DAY_S = 86_400


@dataclass
class Ledger:
    """What was posted: by attempt, whether it was answered 202."""

    produced: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    posted_at: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """``unanswered``: messages of posts without an answer (the agent was dead, or died): they may
    be there or not. ``duplicates_on_wire``: records that the hub had already, as its counter said
    before each of its deaths. ``time_error_s``: of the hub's idea of when a message was posted,
    with a clock that jumped, the largest; ``without_time``: messages that have none."""

    produced: int
    stored: int
    unique: int
    lost: int
    duplicates_after_dedupe: int
    unanswered: int
    unanswered_stored: int
    gaps: int
    duplicates_on_wire: int
    kills: dict[str, int]
    cuts: int
    jumps: int
    seconds: float
    drained_after_s: float
    time_error_s: float
    without_time: int


class Chaos:
    """One run. ``draw`` decides what happens when."""

    def __init__(self, fleet: Fleet, network: BadNetwork, draw: random.Random) -> None:
        self.fleet, self.network, self.draw = fleet, network, draw
        self.kills: Counter[str] = Counter()
        self.cuts = self.jumps = 0
        self.duplicates = self._seen = 0
        self.clock_file = fleet.folder / "clock"
        self.clock_file.write_text("0\n")
        self.clock_library = clock_library(fleet.folder)
        self.metrics_port = free_port()

    def start_agent(self) -> None:
        config = self.fleet.folder / DEVICE / "agent.toml"
        words = [sys.executable, "-m", "edge", "agent", "--config", str(config)]
        if self.clock_library is not None:
            fake = [f"LD_PRELOAD={self.clock_library}", f"CHAOS_CLOCK={self.clock_file}"]
            words = ["env", *fake, *words]
        self.fleet.start(DEVICE, words)

    def start_hub(self) -> None:
        broker = f"127.0.0.1:{self.fleet.broker_port}"
        words = [str(INFERRY), "edge", "hub", "--broker", broker]
        self.fleet.start("hub", [*words, "--metrics-port", str(self.metrics_port)])

    def start_broker(self) -> None:
        """With the configuration and the data that it has."""
        conf = self.fleet.folder / "broker" / "mosquitto.conf"
        self.fleet.start("broker", [str(shutil.which("mosquitto", path="/usr/sbin:/usr/bin")),
                                    "-c", str(conf)])  # fmt: skip

    def kill(self, name: str) -> None:
        """SIGKILL, and a new one after up to a second."""
        if name == "hub":
            self.read_counter()
            self.duplicates, self._seen = self.duplicates + self._seen, 0
        with suppress(KeyError):
            self.fleet.kill(name)
        self.kills[name] += 1
        time.sleep(self.draw.uniform(0, 1))
        {DEVICE: self.start_agent, "hub": self.start_hub, "broker": self.start_broker}[name]()

    def cut(self) -> None:
        """A reset, or seconds of silence."""
        self.cuts += 1
        if self.draw.random() < 0.5:
            self.network.cut()
        else:
            self.network.silence()
            time.sleep(self.draw.uniform(0.5, 5))
            self.network.mend()

    def jump(self) -> None:
        """The device's clock: a day on, a day back, to 1970, right again."""
        to_1970 = 600 - int(time.time())
        shift_s = (DAY_S, -DAY_S, to_1970, 0)[self.jumps % 4]
        self.clock_file.write_text(f"{shift_s}\n")
        self.jumps += 1

    def read_counter(self) -> None:
        """The hub's count of duplicates, while it lives."""
        with suppress(OSError, ValueError):
            url = f"http://127.0.0.1:{self.metrics_port}/metrics"
            with urllib.request.urlopen(url, timeout=1) as answer:
                found = re.findall(
                    r"^inferry_hub_repeated_records_total (\S+)$",
                    answer.read().decode(),
                    re.M,
                )
                self._seen = max(self._seen, int(sum(map(float, found))))


def clock_library(folder: Path) -> Path | None:
    """Built here; None without a C compiler: then no clock jumps."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(CLOCK)
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


def produce(chaos: Chaos, ledger: Ledger, messages: int, rate: float) -> None:
    """Posts until ``messages`` were answered; each attempt has numbers of its own."""
    path = chaos.fleet.folder / DEVICE / "state" / "modules" / "probe" / "run" / "agent.sock"
    numbers = itertools.count()
    began = time.monotonic()
    link: http.client.HTTPConnection | None = None
    while len(ledger.produced) < messages:
        due = began + len(ledger.produced) / rate
        time.sleep(max(0.0, due - time.monotonic()))
        ids = [str(next(numbers)) for _ in range(BATCH)]
        now = time.time()
        body = json.dumps(
            [{"kind": "m", "body": {"id": id, "t": now, "x": "x" * 150}} for id in ids]
        )
        try:
            if link is None:
                link = http.client.HTTPConnection("agent")
                link.sock = socket.socket(socket.AF_UNIX)
                link.sock.settimeout(ANSWER_S)
                link.sock.connect(str(path))
            link.request("POST", "/telemetry", body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            answer.read()
            is_stored = answer.status == 202
            is_refused = answer.status == 503
        except (OSError, http.client.HTTPException):
            is_stored = is_refused = False
            if link is not None:
                link.close()
            link = None
            time.sleep(0.05)
        ledger.posted_at.update(dict.fromkeys(ids, now))
        if is_stored:
            ledger.produced += ids
        elif not is_refused:
            ledger.unknown += ids
    if link is not None:
        link.close()


def stored(database: Path) -> tuple[Counter[str], dict[str, tuple[float | None, float]], int]:
    """(times that each message is there, (hub's time of it, time it was posted), gaps)."""
    found: Counter[str] = Counter()
    times: dict[str, tuple[float | None, float]] = {}
    db = Database(database)
    with db.reader() as connection:
        query, after = telemetry.Query(device=DEVICE, kind="m"), telemetry.Cursor()
        while True:
            page = telemetry.records(connection, query, after=after, limit=1000)
            for record in page.records:
                body = json.loads(bytes(record.body))
                found[body["id"]] += 1
                at = record.time_ms / 1000 if record.is_time_exact else None
                times[body["id"]] = (at, body["t"])
            if page.is_last:
                break
            after = page.cursor
        gaps = sum(g.last - g.first + 1 for g in telemetry.gaps(connection, DEVICE))
    return found, times, gaps


def run(messages: int, rate: float, kills: int, cuts: int, jumps: int, seed: int) -> Result:
    """All of it, on a fleet of its own."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, Fleet(Path(name)) as fleet:
        fleet.stop("hub")
        (fleet.folder / "weights.bin").write_bytes(b"x")
        (fleet.folder / "score.py").write_text(SCRIPT)
        fleet.image("probe", fleet.folder / "weights.bin", fleet.folder / "score.py")
        with BadNetwork(("127.0.0.1", fleet.broker_port)) as network:
            folder = fleet.enroll(DEVICE)
            config = (folder / "agent.toml").read_text()
            (folder / "agent.toml").write_text(
                config.replace(f"port = {fleet.broker_port}", f"port = {network.port}")
            )
            chaos = Chaos(fleet, network, draw)
            chaos.start_hub()
            chaos.start_agent()
            fleet.inferry("edge", "deploy", "a", "--module", "probe=probe", "--host", "process")
            fleet.wait("it runs", lambda: fleet.runs(DEVICE, "probe:1", "probe"))
            try:
                return _run(chaos, messages, rate, kills, cuts, jumps)
            finally:
                stop_modules(fleet)


def _run(chaos: Chaos, messages: int, rate: float, kills: int, cuts: int, jumps: int) -> Result:
    ledger, began = Ledger(), time.monotonic()
    producer = threading.Thread(target=produce, args=(chaos, ledger, messages, rate))
    producer.start()
    deeds = [chaos.cut] * cuts + [chaos.jump] * jumps
    for number in range(kills):
        victim = (DEVICE, "broker", "hub")[number % 3]
        deeds.append(lambda victim=victim: chaos.kill(victim))  # type: ignore[misc]
    chaos.draw.shuffle(deeds)
    span_s = messages / rate
    for number, deed in enumerate(deeds):
        due = began + span_s * (number + 0.5) / len(deeds)
        while time.monotonic() < due and producer.is_alive():
            time.sleep(0.2)
            chaos.read_counter()
        deed()
    producer.join()
    produced_s = time.monotonic() - began
    database = chaos.fleet.folder / "ws" / "edge" / "hub.db"
    wanted = set(ledger.produced)
    deadline = time.monotonic() + DRAIN_S
    while True:
        chaos.read_counter()
        found, times, gaps = stored(database)
        if wanted <= set(found) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    drained_s = time.monotonic() - began - produced_s
    errors = [abs(at - t) for at, t in times.values() if at is not None]
    return Result(
        produced=len(ledger.produced),
        stored=sum(found.values()),
        unique=len(found),
        lost=len(wanted - set(found)),
        duplicates_after_dedupe=sum(found.values()) - len(found),
        unanswered=len(ledger.unknown),
        unanswered_stored=len(set(ledger.unknown) & set(found)),
        gaps=gaps,
        duplicates_on_wire=chaos.duplicates + chaos._seen,
        kills=dict(chaos.kills),
        cuts=chaos.cuts,
        jumps=chaos.jumps,
        seconds=produced_s,
        drained_after_s=drained_s,
        time_error_s=max(errors, default=0.0),
        without_time=sum(at is None for at, _ in times.values()),
    )


def stop_modules(fleet: Fleet) -> None:
    """Modules outlive agents that are killed."""
    with suppress(KeyError):
        fleet.kill(DEVICE)
    config = fleet.folder / DEVICE / "agent.toml"
    words = [sys.executable, "-m", "edge", "agent", "--config", str(config), "--stop-modules"]
    fleet.start(DEVICE, words)
    time.sleep(2)
    fleet.stop(DEVICE, check=False)


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=250.0, help="messages a second")
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--jumps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with closing(socket.socket()):
        result = run(given.messages, given.rate, given.kills, given.cuts, given.jumps, given.seed)
    print(json.dumps({"result": asdict(result), "findings": findings(result)}, indent=1))


def findings(result: Result) -> list[dict[str, Any]]:
    """Rows of RESULTS.md."""
    what = f"chaos: {result.produced:,} messages, {sum(result.kills.values())} SIGKILLs"
    return [
        {
            "what": f"{what}: lost",
            "reach": "0",
            "measured": str(result.lost),
            "reached": result.lost == 0,
        },
        {
            "what": f"{what}: twice after dedupe",
            "reach": "0",
            "measured": f"{result.duplicates_after_dedupe} ({result.duplicates_on_wire:,} records"
            " came twice over the wire)",
            "reached": result.duplicates_after_dedupe == 0,
        },
    ]


if __name__ == "__main__":
    main()
