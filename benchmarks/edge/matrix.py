"""T2: nothing is lost either way on links that come and go, and are slow, late and lossy.

The device lives in a network namespace of its own; offline means that its packets are dropped, so
that nobody is told. Loss and rate are the kernel's (iptables statistic, tc tbf), delay is added by
a relay (this kernel has no netem). Every second the device's application posts messages, and every
other second the hub sends it a command; both go on while it is offline. IoT Edge's cycles
(research/edge.md, section 6) with seconds for minutes. As root.

    python -m benchmarks.edge.matrix
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.edge import chaos
from benchmarks.edge.chaos import DEVICE, SCRIPT, Ledger
from benchmarks.edge.fleet import Fleet
from benchmarks.edge.network import BadNetwork
from edge.hub import command_queue
from edge.hub.database import Database

CYCLES = ((5, 5), (5, 5), (5, 5), (10, 10), (10, 10), (15, 15), (5, 20))
"""(seconds offline, seconds online)."""
COMMAND_EVERY_S = 2.0
DRAIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Of a link."""

    name: str
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    rate: str | None = None


PROFILES = (
    Profile("clean"),
    Profile("satellite", 0.6, 0.05, 0.02, "25mbit"),
    Profile("3G", 0.1, 0.01, 0.0, "2mbit"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one profile. ``commands``: sent; ``answered``: of which a reply came."""

    profile: str
    offline: int
    produced: int
    lost: int
    duplicates: int
    commands: int
    answered: int
    seconds: float
    drained_after_s: float


class Namespace:
    """A machine on the other end of a cable. ``here`` and ``there``: addresses of the two ends."""

    def __init__(self, profile: Profile) -> None:
        number = os.getpid() % 200 + 20
        self.name = f"inferry-{os.getpid()}"
        self.here, self.there = f"10.{number}.77.1", f"10.{number}.77.2"
        self._near, self._far = f"ia{os.getpid()}", f"ib{os.getpid()}"
        self._profile = profile

    @contextmanager
    def up(self) -> Iterator[None]:
        """Made, and gone at the end."""
        try:
            ip("netns", "add", self.name)
            ip("link", "add", self._near, "type", "veth", "peer", "name", self._far)
            ip("link", "set", self._far, "netns", self.name)
            ip("addr", "add", f"{self.here}/24", "dev", self._near)
            ip("link", "set", self._near, "up")
            self.run("ip", "addr", "add", f"{self.there}/24", "dev", self._far)
            self.run("ip", "link", "set", self._far, "up")
            self.run("ip", "link", "set", "lo", "up")
            self._shape()
            yield
        finally:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", self.name)
            with suppress(subprocess.CalledProcessError):
                ip("link", "del", self._near)

    def run(self, *words: str) -> None:
        """In there."""
        subprocess.run(["ip", "netns", "exec", self.name, *words], check=True, capture_output=True)

    def offline(self) -> None:
        """Packets are dropped, both ways."""
        for chain in ("INPUT", "OUTPUT"):
            self.run("iptables", "-I", chain, "1", "!", "-i" if chain == "INPUT" else "-o", "lo",
                     "-j", "DROP")  # fmt: skip

    def online(self) -> None:
        """And pass again, as far as the profile lets them."""
        for chain in ("INPUT", "OUTPUT"):
            self.run("iptables", "-D", chain, "1")

    def _shape(self) -> None:
        profile = self._profile
        if profile.rate is not None:
            shape = ("root", "tbf", "rate", profile.rate, "burst", "32k", "latency", "400ms")
            subprocess.run(["tc", "qdisc", "add", "dev", self._near, *shape], check=True)
            self.run("tc", "qdisc", "add", "dev", self._far, *shape)
        if profile.loss:
            for chain in ("INPUT", "OUTPUT"):
                self.run("iptables", "-A", chain, "-m", "statistic", "--mode", "random",
                         "--probability", str(profile.loss), "-j", "DROP")  # fmt: skip


def ip(*words: str) -> None:
    """The command."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def run(profile: Profile, cycles: tuple[tuple[float, float], ...], rate: float) -> Result:
    """One profile, on a fleet of its own."""
    space = Namespace(profile)
    with (
        tempfile.TemporaryDirectory(prefix="matrix-") as name,
        space.up(),
        Fleet(Path(name)) as fleet,
    ):
        (fleet.folder / "weights.bin").write_bytes(b"x")
        (fleet.folder / "score.py").write_text(SCRIPT)
        fleet.image("probe", fleet.folder / "weights.bin", fleet.folder / "score.py")
        late = {"delay_s": profile.delay_s, "jitter_s": profile.jitter_s, "host": space.here}
        with BadNetwork(("127.0.0.1", fleet.broker_port), **late) as network:  # type: ignore[arg-type]
            # The image comes over a good link: T4 is about pulls.
            folder = fleet.enroll(DEVICE)
            fleet.start_agent(DEVICE)
            fleet.inferry("edge", "deploy", "a", "--module", "probe=probe", "--host", "process")
            fleet.wait("it runs", lambda: fleet.runs(DEVICE, "probe:1", "probe"))
            fleet.stop(DEVICE)
            (folder / "agent.toml").write_text(
                f'device = "{DEVICE}"\nstate = "state"\n[broker]\nhost = "{space.here}"\n'
                f'port = {network.port}\nserver_name = "localhost"\nkeepalive_s = 5\n'
                f'[registry]\nurl = "{fleet.registry}"\n'
            )
            words = [sys.executable, "-m", "edge", "agent", "--config", str(folder / "agent.toml")]
            fleet.start(DEVICE, ["ip", "netns", "exec", space.name, *words, "--stop-modules"])
            path = folder / "state" / "modules" / "probe" / "run" / "agent.sock"
            fleet.wait("the agent is there", path.exists)
            return _run(fleet, space, profile, cycles, rate)


def _run(
    fleet: Fleet,
    space: Namespace,
    profile: Profile,
    cycles: tuple[tuple[float, float], ...],
    rate: float,
) -> Result:
    ledger, began = Ledger(), time.monotonic()
    span_s = sum(off + on for off, on in cycles)
    network = chaos.Chaos(fleet, None, random.Random(0))  # type: ignore[arg-type]
    producer = threading.Thread(
        target=chaos.produce, args=(network, ledger, int(span_s * rate), rate)
    )
    database = Database(fleet.folder / "ws" / "edge" / "hub.db")
    stop = threading.Event()
    commands: list[str] = []
    commander = threading.Thread(target=command, args=(database, stop, commands))
    producer.start()
    commander.start()
    for offline_s, online_s in cycles:
        space.offline()
        time.sleep(offline_s)
        space.online()
        time.sleep(online_s)
    stop.set()
    commander.join()
    producer.join()
    ended = time.monotonic()
    wanted = set(ledger.produced)
    while True:
        found, _, _ = chaos.stored(fleet.folder / "ws" / "edge" / "hub.db")
        answered = sum(is_answered(database, id) for id in commands)
        is_over = wanted <= set(found) and answered == len(commands)
        if is_over or time.monotonic() - ended > DRAIN_S:
            break
        time.sleep(0.5)
    return Result(
        profile.name,
        len(cycles),
        len(wanted),
        len(wanted - set(found)),
        sum(found.values()) - len(found),
        len(commands),
        answered,
        ended - began,
        time.monotonic() - ended,
    )


def command(database: Database, stop: threading.Event, sent: list[str]) -> None:
    """A ping each COMMAND_EVERY_S, good for ten minutes."""
    for _ in itertools.count():
        if stop.wait(COMMAND_EVERY_S):
            return
        sent.append(send_ping(database))


def send_ping(database: Database) -> str:
    """Its id."""
    now_ms = time.time_ns() // 1_000_000
    return command_queue.send(database, DEVICE, "ping", now_ms=now_ms, expires_s=600)


def is_answered(database: Database, id: str) -> bool:
    """Whether its reply came."""
    with database.reader() as connection:
        return command_queue.outcome(connection, id).ok is True


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second")
    parser.add_argument("--only", help="a profile")
    given = parser.parse_args()
    results = [
        run(profile, CYCLES, given.rate)
        for profile in PROFILES
        if given.only in (None, profile.name)
    ]
    found = {"results": [asdict(each) for each in results], "findings": findings(results)}
    print(json.dumps(found, indent=1))


def findings(results: list[Result]) -> list[dict[str, Any]]:
    """Rows of RESULTS.md."""
    return [
        {
            "what": f"connectivity, {each.profile} link, offline {each.offline} times:"
            f" {each.produced:,} messages up, {each.commands} commands down",
            "reach": "0 lost both ways",
            "measured": f"{each.lost} lost, {each.duplicates} twice;"
            f" {each.commands - each.answered} commands without reply",
            "reached": each.lost == each.duplicates == each.commands - each.answered == 0,
        }
        for each in results
    ]


if __name__ == "__main__":
    main()
