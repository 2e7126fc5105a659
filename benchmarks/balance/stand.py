"""Two replicas, which are our scoring server with one process each, and HAProxy before them.

with stand(digits(scratch), scratch) as found:
    found.direct, found.front          # ports; the same request goes to both
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from benchmarks import contestants, cpu
from benchmarks.drive import drive
from benchmarks.servers import NotServedError, Server, check, free_port, running
from benchmarks.subjects import Subject
from benchmarks.wire import Request
from runtime.balance import Balance, Balancer, Replica, Service, Version
from runtime.balance.process import usual_account

REPLICAS = 2
WARM = 100


@dataclass(frozen=True, slots=True)
class Pair:
    """What two loads at once found, each on half of the connections: rates together, times as
    means. CPU a request: of the replicas, and of HAProxy."""

    rate: float
    p50_ms: float
    p99_ms: float
    replicas_us: float
    haproxy_us: float
    errors: int


@dataclass(frozen=True, slots=True)
class Stand:
    """``replicas``: directly; ``front``: HAProxy's port."""

    replicas: tuple[Server, ...]
    balancer: Balancer
    front: int
    request: Request
    scratch: Path

    def turns(self, requests: int) -> tuple[list[float], list[float]]:
        """Milliseconds of so many requests, sorted: directly, and through HAProxy; one of each in
        turn, so that whatever else the machine does meets both alike."""
        found: tuple[list[float], list[float]] = ([], [])
        sent = self.request.bytes()
        with contextlib.ExitStack() as links:
            pairs = []
            for port, times in zip((self.replicas[0].port, self.front), found, strict=True):
                link = links.enter_context(socket.create_connection(("127.0.0.1", port)))
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pairs.append((link, times))
            for number in range(WARM + requests):
                for link, times in pairs:
                    began_s = time.perf_counter()
                    link.sendall(sent)
                    answer = link.recv(65536)
                    took_ms = (time.perf_counter() - began_s) * 1e3
                    if not answer.startswith(b"HTTP/1.1 200"):
                        raise NotServedError(f"it answered {answer[:60]!r}")
                    if number >= WARM:
                        times.append(took_ms)
        for times in found:
            times.sort()
        return found

    def full(self, *, through_haproxy: bool, connections: int, seconds: float) -> Pair:
        """As many requests as go, to both replicas."""
        pid, before = self.balancer.keeper.pid, self._requests()
        assert pid is not None
        before_s = cpu.cpu_s(pid)
        with ThreadPoolExecutor(REPLICAS) as pool:
            loads = []
            for at, server in enumerate(self.replicas):
                target = replace(server, port=self.front) if through_haproxy else server
                folder = self.scratch / f"load-{at}"
                folder.mkdir(exist_ok=True)
                part = connections // REPLICAS
                loads.append(pool.submit(drive, target, self.request, part, seconds, folder))
            samples = [load.result() for load in loads]
        used_s, passed = cpu.cpu_s(pid) - before_s, self._requests() - before
        return Pair(
            rate=sum(sample.rate for sample in samples),
            p50_ms=fmean(sample.p50_ms for sample in samples),
            p99_ms=fmean(sample.p99_ms for sample in samples),
            replicas_us=fmean(sample.cpu_us for sample in samples),
            haproxy_us=used_s / passed * 1e6 if passed else 0.0,
            errors=sum(sample.errors for sample in samples),
        )

    def _requests(self) -> int:
        return self.balancer.services()["a"].requests


@contextlib.contextmanager
def stand(subject: Subject, form: str, scratch: Path, threads: int) -> Iterator[Stand]:
    """Raises NotServedError, or BalanceError without HAProxy. ``threads``: HAProxy's."""
    contestant = contestants.ours(subject.model, "--processes", "1")
    request = contestant.forms[form](subject, 0)
    folder = Path(tempfile.mkdtemp(prefix="inferry-balance-"))  # scratch is root's alone
    folder.chmod(0o711)
    with contextlib.ExitStack() as all_of_it:
        all_of_it.callback(shutil.rmtree, folder)
        replicas = []
        for at in range(REPLICAS):
            own = scratch / f"replica-{at}"
            own.mkdir(exist_ok=True)
            is_right = _is_right(subject)
            replicas.append(all_of_it.enter_context(running(contestant, request, is_right, own)))
        balancer = all_of_it.enter_context(Balancer(folder / "haproxy", account=usual_account()))
        all_of_it.callback(balancer.stop, 0)
        front = free_port()
        places = tuple(Replica("127.0.0.1", server.port) for server in replicas)
        service = Service("a", front, (Version("v1", 1, places),))
        balancer.apply(Balance((service,), threads=threads))
        check(front, request, _is_right(subject))
        yield Stand(tuple(replicas), balancer, front, request, scratch)


def _is_right(subject: Subject) -> Callable[[bytes], bool]:
    return lambda body: subject.is_right(0, body)
