"""The users, for locust alone: it imports this file in a process of its own (process.py).

    INFERRY_BENCH_PLAN=... INFERRY_BENCH_SAMPLES=... python -m locust -f locustfile.py --headless

All users are there from the beginning; a step says how many of them send. With a rate each user has
every n-th request, and its time counts from when it was due: a server that stands still for a
second is seen as that by all requests of this second, not only by those that were on their way.
"""

from __future__ import annotations

import itertools
import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import gevent  # type: ignore[import-untyped]
from gevent.ssl import SSLError  # type: ignore[import-untyped, unused-ignore]
from gevent.timeout import Timeout  # type: ignore[import-untyped]
from geventhttpclient._parser import HTTPParseError
from geventhttpclient.response import HTTPConnectionClosed
from geventhttpclient.useragent import RetriesExceeded
from locust import FastHttpUser, constant, events, task

from runtime.bench.histogram import bucket_of
from runtime.bench.plan import Plan, Step, read_plan
from runtime.bench.sample import SHED, Sample, encoded, kind_of
from runtime.scoring_call import pinned

PLAN = read_plan(Path(os.environ["INFERRY_BENCH_PLAN"]))
IDLE_S = 0.02
"""How soon a user of no step yet sees that one began."""
SCHEDSTAT = Path("/proc/self/schedstat")
"""Of the first thread, which is the one that sends: nanoseconds run, and waited for a core."""


class Counts:
    """Since the last sample."""

    def __init__(self) -> None:
        self.answered: Counter[int] = Counter()
        self.failed: Counter[str] = Counter()
        self.shed = 0
        self.retry_after_s = 0.0


class Course:
    """Which step it is, by a clock that does not jump; writes the samples."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan, self.counts = plan, Counts()
        self._path = path
        self._began_s: float | None = None
        self._ends_s = list(itertools.accumulate(step.duration_s for step in plan.steps))

    def begin(self) -> None:
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """Since the first step began; before that less than nothing."""
        return -1.0 if self._began_s is None else time.monotonic() - self._began_s

    def step(self, now_s: float) -> tuple[int, Step, float] | None:
        """Number, step, and when it began."""
        if now_s < 0:
            return None
        for number, end_s in enumerate(self._ends_s):
            if now_s < end_s:
                step = self.plan.steps[number]
                return number, step, end_s - step.duration_s
        return None

    def run(self, runner: Any) -> None:
        """Writes samples until the last step is over, or whoever asked for all this is gone."""
        parent, began_s = os.getppid(), 0.0
        with self._path.open("ab", buffering=0) as file:
            for number, step in enumerate(self.plan.steps):
                end_s = self._ends_s[number]
                while began_s < end_s and os.getppid() == parent:
                    until_s = min(began_s + self.plan.sample_s, end_s)
                    if end_s - until_s < self.plan.sample_s / 2:
                        until_s = end_s
                    used = _used()
                    gevent.sleep(max(0.0, until_s - self.now_s))
                    now_s = self.now_s
                    file.write(encoded(self._sample(number, step, began_s, now_s, used)))
                    began_s = max(now_s, until_s)
            runner.stop()  # waits for what is on its way
            left = self._sample(number, step, began_s, began_s, _used())
            if left.requests:
                file.write(encoded(left))
        runner.quit()

    def _sample(
        self, number: int, step: Step, began_s: float, now_s: float, used: tuple[float, float]
    ) -> Sample:
        counts, self.counts = self.counts, Counts()
        seconds, (cpu_s, starved_s) = now_s - began_s, _used()
        return Sample(
            step=number,
            began_s=began_s,
            seconds=seconds,
            answered=dict(counts.answered),
            shed=counts.shed,
            retry_after_s=counts.retry_after_s,
            failed=dict(counts.failed),
            due=0 if step.rate is None else round(step.rate * seconds),
            cpu_s=cpu_s - used[0],
            starved_s=starved_s - used[1],
        )


COURSE = Course(PLAN, Path(os.environ["INFERRY_BENCH_SAMPLES"]))
NUMBERS, TURN = itertools.count(), itertools.count()
PARTS = urlsplit(PLAN.url)


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def _begin(environment: Any, **_: Any) -> None:
    def run() -> None:
        while environment.runner.user_count < PLAN.users:
            gevent.sleep(IDLE_S)
        COURSE.begin()
        COURSE.run(environment.runner)

    gevent.spawn(run)


class ScoringUser(FastHttpUser):
    """Sends a body, waits for the answer, counts it."""

    host = urlunsplit((PARTS.scheme, PARTS.netloc, "", "", ""))
    path: ClassVar[str] = urlunsplit(("", "", PARTS.path, PARTS.query, ""))
    wait_time = constant(0)
    insecure = False
    connection_timeout = network_timeout = PLAN.timeout_s
    max_redirects = 0
    if PLAN.certificate is not None:
        insecure = True  # no check of the name: the context trusts one certificate only
        ssl_context_factory = staticmethod(lambda: pinned(Path(PLAN.certificate or "")))

    def on_start(self) -> None:
        """locust calls it."""
        self.number = next(NUMBERS)
        self.place: tuple[int, int] = (-1, 0)
        """Step, and how many requests of it this user has sent."""

    @task
    def score(self) -> None:
        """One request, where one is due."""
        now_s = COURSE.now_s
        found = COURSE.step(now_s)
        if found is None or self.number >= found[1].users:
            gevent.sleep(IDLE_S)
            return
        number, step, began_s = found
        if step.rate is None:
            self._send(now_s)
            return
        sent = self.place[1] if self.place[0] == number else 0
        due_s = began_s + (self.number + sent * step.users) / step.rate
        if due_s > now_s:
            gevent.sleep(min(due_s - now_s, IDLE_S))
            return
        self.place = (number, sent + 1)
        self._send(due_s)

    def _send(self, due_s: float) -> None:
        body: Any = PLAN.bodies[
            next(TURN) % len(PLAN.bodies)
        ]  # locust's annotation knows text only
        with self.client.post(
            self.path,
            data=body,
            headers=PLAN.headers,
            name="score",
            catch_response=True,
            allow_redirects=False,
        ) as answer:
            headers = answer.headers or {}
            kind = kind_of(answer.status_code, "retry-after" in headers)
            if answer.status_code == 0 or kind is None:
                kind = _error_kind(answer.request_meta["exception"])
            counts = COURSE.counts
            if kind is None:
                counts.answered[bucket_of(COURSE.now_s - due_s)] += 1
                answer.success()
            elif kind == "shed":
                counts.shed += 1
                counts.retry_after_s = max(counts.retry_after_s, _seconds(headers["retry-after"]))
                answer.success()
            else:
                counts.failed[kind] += 1
                answer.failure(kind)
        if kind is not None and answer.status_code != SHED:
            gevent.sleep(IDLE_S)  # a server that is gone is not to be asked in a tight loop


def _error_kind(error: Any) -> str | None:
    """Of what ended a request without a whole answer; None: nothing did."""
    if isinstance(error, RetriesExceeded):
        error = getattr(error, "original", error)
    if error is None:
        return None
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (Timeout, TimeoutError)):
        return f"no answer within {PLAN.timeout_s:g} s"
    if isinstance(error, SSLError):
        return "TLS failed"
    if isinstance(error, HTTPParseError) and not isinstance(error, HTTPConnectionClosed):
        return "no whole HTTP answer"
    if isinstance(error, (HTTPConnectionClosed, ConnectionError)):
        return "connection ended without an answer"
    return f"{type(error).__name__}"


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 7 else 0.0


def _used() -> tuple[float, float]:
    """CPU seconds of this process, and those that it waited for a core."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    try:
        waited_s = int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited_s = 0.0
    return usage.ru_utime + usage.ru_stime, waited_s
