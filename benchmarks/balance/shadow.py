"""What a shadow costs the requests of clients: those that take the way through the mirror, and
those beside them that do not.

    python -m benchmarks.balance.shadow [--rounds 5] [--seconds 2] [--requests 2000] [--times 10]

One replica answers, one is the shadow, and three services of one HAProxy lead to them: without a
shadow, with 10 % and with 100 %. Latency: one request to each in turn. Load: each service in turn,
there and back again, with so many requests as go on 16 connections. Then what ends under load, each
so many times: the mirror, its comparer, the shadow. All answers are checked there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import contestants, cpu, drive
from benchmarks.balance.stand import WARM
from benchmarks.faultload import Event, Fate, FaultLoad, counts
from benchmarks.outcome import load, table
from benchmarks.servers import NotServedError, Server, check, free_port, running
from benchmarks.subjects import Subject, digits
from benchmarks.wire import Request
from runtime.balance import Balance, Replica, Service, Version
from runtime.balance.process import usual_account
from runtime.shadow.balancing import MirroredBalancer
from runtime.shadow.counts import Counts, line
from runtime.shadow.reading import read_counts

SERVICES = {"plain": 0, "tenth": 1000, "all": 10_000}
"""Copies of 10,000 requests."""
ORDER = (*SERVICES, *reversed(SERVICES))
CONNECTIONS = 16
STEADY_S, BETWEEN_S = 0.5, 1.0
READY_S = 20.0
Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stand:
    """``ports``: of the services."""

    primary: Server
    shadow: Server
    balancer: MirroredBalancer
    balance: Balance
    ports: dict[str, int]
    request: Request
    scratch: Path

    def keep(self) -> None:
        """What a controller does again and again."""
        self.balancer.apply(self.balance)

    def counted(self, service: str) -> Counts:
        """What its mirror counted."""
        found = read_counts(self.balancer.keeper.folder, service)
        return found.get("v2") or Counts("")

    def is_mirrored(self, service: str) -> bool:
        """Its copies reach the shadow."""
        self.keep()
        check(self.ports[service], self.request, lambda body: True)
        return self.counted(service).copied > 0


@contextlib.contextmanager
def stand(subject: Subject, scratch: Path) -> Iterator[Stand]:
    """Raises NotServedError."""
    contestant = contestants.ours(subject.model, "--processes", "1")
    request = contestant.forms["json"](subject, 0)
    folder = Path(tempfile.mkdtemp(prefix="inferry-bench-"))
    folder.chmod(0o711)
    with contextlib.ExitStack() as all_of_it:
        all_of_it.callback(shutil.rmtree, folder, ignore_errors=True)
        servers = []
        for at in range(2):
            (own := scratch / f"replica-{at}").mkdir(exist_ok=True)
            servers.append(
                all_of_it.enter_context(
                    running(contestant, request, lambda body: subject.is_right(0, body), own)
                )
            )
        balancer = all_of_it.enter_context(
            MirroredBalancer(folder / "haproxy", account=usual_account())
        )
        all_of_it.callback(balancer.stop, 0)
        ports = {name: free_port() for name in SERVICES}
        first, second = ((Replica("127.0.0.1", server.port),) for server in servers)
        services = tuple(
            Service(
                name,
                ports[name],
                (
                    Version("v1", 1, first),
                    *([Version("v2", 0, second, copies=copies)] if copies else []),
                ),
            )
            for name, copies in SERVICES.items()
        )
        found = Stand(servers[0], servers[1], balancer, Balance(services), ports, request, scratch)
        deadline = time.monotonic() + READY_S
        while not all(found.is_mirrored(name) for name, copies in SERVICES.items() if copies):
            if time.monotonic() > deadline:
                raise NotServedError("the mirrors do not copy")
            time.sleep(0.02)
        yield found


def latency(found: Stand, requests: int, rounds: int) -> str:
    """Milliseconds of one request in turn: the replica itself, and each service."""
    places = {"direct": found.primary.port, **found.ports}
    kept: dict[str, list[tuple[float, float, float]]] = {name: [] for name in places}
    for _ in range(rounds):
        times: dict[str, list[float]] = {name: [] for name in places}
        with contextlib.ExitStack() as links:
            open_links = {}
            for name, port in places.items():
                link = links.enter_context(socket.create_connection(("127.0.0.1", port)))
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_links[name] = link
            sent = found.request.bytes()
            for number in range(WARM + requests):
                for name, link in open_links.items():
                    began_s = time.perf_counter()
                    link.sendall(sent)
                    if not link.recv(65536).startswith(b"HTTP/1.1 200"):
                        raise NotServedError(f"{name} did not answer")
                    if number >= WARM:
                        times[name].append((time.perf_counter() - began_s) * 1e3)
        for name, each in times.items():
            each.sort()
            kept[name].append(tuple(each[int(len(each) * at)] for at in (0.5, 0.95, 0.99)))  # type: ignore[arg-type]
    rows = []
    for name, of_rounds in kept.items():
        values = [statistics.median(one[at] for one in of_rounds) for at in range(3)]
        added = [
            statistics.median(
                one[at] - plain[at] for one, plain in zip(of_rounds, kept["plain"], strict=True)
            )
            for at in range(3)
        ]
        rows.append([name, *(f"{v:.3f}" for v in values), *(f"{v:+.3f}" for v in added)])
    return table(["1 connection, ms", "p50", "p95", "p99", "added p50", "p95", "p99"], rows)


def throughput(found: Stand, seconds: float, rounds: int) -> str:
    """Requests, latency and CPU of each service under as much load as goes."""
    kept: dict[str, list[list[float]]] = {name: [] for name in SERVICES}
    for number in range(rounds):
        for name in ORDER:
            kept[name].append(_loaded(found, name, seconds))
            print(f"  round {number + 1}, {name}: {kept[name][-1]}", flush=True)
    rows = [
        [name, *(f"{statistics.median(one[at] for one in runs):,.2f}" for at in range(8))]
        for name, runs in kept.items()
    ]
    header = ["requests/s", "p50 ms", "p99 ms", "CPU us: replica", "HAProxy", "mirror", "comparer"]
    return table([f"{CONNECTIONS} connections", *header, "shadow"], rows)


def _loaded(found: Stand, name: str, seconds: float) -> list[float]:
    haproxy, mirror = found.balancer.keeper.pid, found.balancer.mirrors.pid(name)
    comparer = cpu.tree(mirror)[1] if mirror is not None else None
    before_of = {
        what: cpu.cpu_s(pid) if pid is not None else 0.0
        for what, pid in (
            ("haproxy", haproxy),
            ("mirror", mirror),
            ("comparer", comparer),
            ("shadow", found.shadow.pid),
        )
    }
    requests = found.balancer.services()[name].requests
    (folder := found.scratch / "load").mkdir(exist_ok=True)
    target = Server(found.primary.process, found.ports[name], 0.0, found.primary.log)
    sample = drive.drive(target, found.request, CONNECTIONS, seconds, folder)
    passed = max(1, found.balancer.services()[name].requests - requests)
    used = {}
    for what, pid in (
        ("haproxy", haproxy),
        ("mirror", mirror),
        ("comparer", comparer),
        ("shadow", found.shadow.pid),
    ):
        used[what] = (cpu.cpu_s(pid) - before_of[what]) / passed * 1e6 if pid is not None else 0.0
    if sample.errors:
        raise NotServedError(f"{sample.errors} requests to {name} failed")
    return [
        round(value, 3)
        for value in (
            *(sample.rate, sample.p50_ms, sample.p99_ms, sample.cpu_us, used["haproxy"]),
            *(used["mirror"] - used["comparer"], used["comparer"], used["shadow"]),
        )
    ]


def faults(found: Stand, subject: Subject, times: int) -> str:
    """Of all requests copied, what fails when something ends."""

    async def mirror() -> None:
        while (pid := found.balancer.mirrors.pid("all")) is None:
            await asyncio.to_thread(found.keep)
            await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        while found.balancer.mirrors.pid("all") in (pid, None):
            await asyncio.to_thread(found.keep)
            await asyncio.sleep(0.1)

    async def comparer() -> None:
        pid = found.balancer.mirrors.pid("all")
        assert pid is not None
        for child in cpu.tree(pid)[1:]:
            os.kill(child, signal.SIGKILL)

    async def shadow() -> None:
        pids = cpu.tree(found.shadow.pid)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, number)
            await asyncio.sleep(0.3)

    async def gone() -> None:
        for pid in cpu.tree(found.shadow.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    rows = []
    for what, number, act in (
        ("kill -9 of the mirror", times, mirror),
        ("kill -9 of the comparer", times, comparer),
        ("the shadow hangs for 0.3 s", times, shadow),
        ("kill -9 of the shadow", 1, gone),
    ):
        events = uvloop.run(_under_load(found, subject, number, act))
        failed = sum(event.fate is not Fate.RIGHT for event in events)
        said = ", ".join(f"{n} {fate}" for fate, n in sorted(counts(events).items()))
        print(f"  {what} x {number}: {said}", flush=True)
        slowest_ms = max(_took_s(event) for event in events) * 1e3
        rows.append([what, f"{number}", f"{len(events)}", f"{failed}", f"{slowest_ms:.0f}"])
    return table(["", "times", "requests", "failed", "slowest, ms"], rows)


def _took_s(event: Event) -> float:
    return event.at_s - event.sent_s


async def _under_load(found: Stand, subject: Subject, times: int, act: Act) -> list[Event]:
    requests = [found.request.bytes()]
    async with FaultLoad(found.ports["all"], requests, subject.is_right, CONNECTIONS) as running:
        await asyncio.sleep(STEADY_S)
        for _ in range(times):
            await act()
            await asyncio.sleep(BETWEEN_S)
    return running.events


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--times", type=int, default=10)
    asked = parser.parse_args()
    drive.require_wrk()
    before, tables = load(), []
    with tempfile.TemporaryDirectory(prefix="inferry-bench-") as name:
        scratch = Path(name)
        subject = digits(scratch)
        with stand(subject, scratch) as found:
            tables.append(latency(found, asked.requests, asked.rounds))
            print(tables[-1], flush=True)
            tables.append(throughput(found, asked.seconds, asked.rounds))
            for service, copies in SERVICES.items():
                if copies:
                    print(f"  {line(service, found.counted(service))}", flush=True)
            tables.append(faults(found, subject, asked.times))
    print(f"\n{cpu.machine()}\nload average {before:.2f}, then {load():.2f}\n")
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
