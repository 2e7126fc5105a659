"""Three times more than the server can do, each request with a deadline of 200 ms.

The load is open: requests arrive by a Poisson process whatever became of those before, as from
many users. First a closed loop finds the peak. *Goodput* counts answers of 200 within the deadline,
timed from sending; *lag* is how late the generator itself sent, and must be small against the
deadline.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import uvloop

from benchmarks import contestants
from benchmarks.outcome import Finding, Outcome, table
from benchmarks.rates import Plan
from benchmarks.servers import Server, running
from benchmarks.subjects import angle
from benchmarks.wire import Answer, Client, Request

DEADLINE_MS = 200
REFUSALS = frozenset((429, 503))
EXPIRED = frozenset((408, 504))
TIMES = 3.0
TICK_S = 0.0005
OPENED_AHEAD = 128
CLOSED_LOOP_CLIENTS = 16
SLEEP_MS = 10
LATE_MS = 20
SETTLE_S = 0.5


@dataclass(slots=True)
class Tally:
    """What came back, in milliseconds from sending; ``lag_ms`` from when it was due to sent. The
    goodput is that of a window of time, so that neither filling nor emptying the queue counts."""

    start_s: float
    end_s: float
    accepted_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    """By status; 0: the connection ended without an answer."""
    good: int = 0
    """Answers within the deadline and within the window."""

    def take(self, answer: Answer | None, sent_s: float) -> None:
        """Counts one that was sent then and has ended now."""
        now_s = time.monotonic()
        took_ms = (now_s - sent_s) * 1000
        status = answer.status if answer else 0
        self.statuses[status] += 1
        if status == 200:
            self.accepted_ms.append(took_ms)
            self.good += took_ms <= DEADLINE_MS and self.start_s <= now_s < self.end_s
        elif status in REFUSALS:
            self.refused_ms.append(took_ms)

    def goodput(self) -> float:
        """Answers within the deadline, per second."""
        return self.good / (self.end_s - self.start_s)


def overload(plan: Plan) -> Outcome:
    """A script that sleeps, where nothing competes for the cores; and the text-angle model."""
    outcome = Outcome("overload")
    body = b'{"sleep_ms": %d, "token": 7}' % SLEEP_MS
    sleeper = Request("/score", body, {"Content-Type": "application/json"})
    script = contestants.our_script("score_busy.py", workers=2)
    rows = []
    with running(script, sleeper, lambda answer: b"7" in answer, plan.scratch) as server:
        name = f"score.py that sleeps {SLEEP_MS} ms, 2 workers"
        rows.append(_measure(name, server, sleeper, plan, outcome))
    subject = angle()
    model = contestants.ours(subject.model)
    form = "v2"  # a raw body cannot say the three free sizes of this input
    with running(
        model, model.forms["json"](subject, 0), lambda a: subject.is_right(0, a), plan.scratch
    ) as server:
        request = model.forms[form](subject, 0)
        rows.append(_measure("text angle, binary body (v2)", server, request, plan, outcome))
    header = ["", "peak/s", "offered/s", "goodput/s", "accepted p50 ms", "accepted p99 ms"]
    header += ["refused p50 ms", "refused p99 ms", "slowest refusal ms", "lag p99 ms", "statuses"]
    outcome.tables.append(table(header, rows))
    return outcome


def _measure(
    name: str, server: Server, request: Request, plan: Plan, outcome: Outcome
) -> list[str]:
    headers = {**request.headers, "x-request-deadline-ms": str(DEADLINE_MS)}
    wire = Request(request.path, request.body, headers).bytes()
    seconds = plan.seconds * 2
    peak = uvloop.run(_closed_loop(server.port, wire, seconds)).goodput()
    if not peak:
        outcome.notes.append(f"{name}: not answered")
        return [name, *["-"] * 10]
    tally = uvloop.run(_open_loop(server.port, wire, peak * TIMES, seconds))
    print(f"  {name}: peak {peak:,.0f}/s, goodput {tally.goodput():,.0f}/s, {tally.statuses}")
    p99_ms, slowest_ms = quantile(tally.accepted_ms, 0.99), max(tally.refused_ms, default=0.0)
    share = tally.goodput() / peak
    lost = sum(
        n for status, n in tally.statuses.items() if status not in (200, *REFUSALS, *EXPIRED)
    )
    if quantile(tally.lag_ms, 0.99) > LATE_MS:
        outcome.notes.append(f"{name}: the generator itself was late; measure again when quiet")
    expired = sum(tally.statuses[status] for status in EXPIRED)
    prefix = f"overload, {name}: {TIMES:g}x capacity offered, {DEADLINE_MS} ms deadline:"
    sent = f"{sum(tally.statuses.values()):,} requests"
    refusals = f"slowest {slowest_ms:.1f} ms, p99 {quantile(tally.refused_ms, 0.99):.1f} ms; "
    refusals += f"{expired} more expired while waiting"
    outcome.findings += [
        Finding(f"{prefix} goodput", ">= 95 % of peak", f"{share:.0%}", share >= 0.95),
        Finding(
            f"{prefix} p99 of accepted",
            f"<= {DEADLINE_MS} ms",
            f"{p99_ms:.0f} ms",
            p99_ms <= DEADLINE_MS,
        ),
        Finding(
            f"{prefix} every refusal",
            "< 10 ms",
            refusals if tally.refused_ms else "none was refused",
            slowest_ms < 10 if tally.refused_ms else False,
        ),
        Finding(f"{prefix} lost or another error", "0", f"{lost} of {sent}", lost == 0),
    ]
    figures = (peak, peak * TIMES, tally.goodput())
    latencies = (
        quantile(tally.accepted_ms, 0.5),
        p99_ms,
        quantile(tally.refused_ms, 0.5),
        quantile(tally.refused_ms, 0.99),
        slowest_ms,
        quantile(tally.lag_ms, 0.99),
    )
    statuses = ", ".join(f"{status}: {n}" for status, n in sorted(tally.statuses.items()))
    return [name, *(f"{x:,.0f}" for x in figures), *(f"{x:.1f}" for x in latencies), statuses]


async def _closed_loop(port: int, wire: bytes, seconds: float) -> Tally:
    """As many requests at a time as there are clients: the peak, by the same client."""
    began_s = time.monotonic()
    end_s = began_s + seconds
    tally = Tally(began_s + SETTLE_S, end_s)

    async def loop() -> None:
        client = await Client.open(port)
        while (sent_s := time.monotonic()) < end_s:
            if not client.is_open:
                client = await Client.open(port)
            tally.take(await client.ask(wire), sent_s)
        client.close()

    await asyncio.gather(*(loop() for _ in range(CLOSED_LOOP_CLIENTS)))
    return tally


async def _open_loop(port: int, wire: bytes, rate: float, seconds: float) -> Tally:
    """Poisson arrivals at ``rate`` per second; waits for the last answers."""
    idle = [await Client.open(port) for _ in range(OPENED_AHEAD)]
    began_s = time.monotonic()
    tally = Tally(began_s + SETTLE_S, began_s + seconds)
    pending: set[asyncio.Task[None]] = set()
    under_way = 0

    def send(client: Client, due_s: float) -> None:
        nonlocal under_way
        sent_s = time.monotonic()
        tally.lag_ms.append((sent_s - due_s) * 1000)
        under_way += 1

        def then(answer: Answer | None) -> None:
            nonlocal under_way
            under_way -= 1
            tally.take(answer, sent_s)
            if client.is_open:
                idle.append(client)

        client.send(wire, then)

    async def open_and_send(due_s: float) -> None:
        try:
            send(await Client.open(port), due_s)
        except OSError:
            tally.take(None, due_s)

    for due_s in _arrivals(rate, seconds, began_s):
        while time.monotonic() < due_s:
            await asyncio.sleep(TICK_S)
        client = _take_open(idle)
        if client is not None:
            send(client, due_s)
        else:
            task = asyncio.create_task(open_and_send(due_s))
            pending.add(task)
            task.add_done_callback(pending.discard)
    await asyncio.gather(*pending)
    await _until(lambda: under_way == 0, within_s=5.0)
    tally.statuses[0] += under_way
    for client in idle:
        client.close()
    return tally


def _take_open(idle: list[Client]) -> Client | None:
    while idle:
        client = idle.pop()
        if client.is_open:
            return client
    return None


def _arrivals(rate: float, seconds: float, began_s: float) -> list[float]:
    source = random.Random(7)
    due_s, found = began_s, []
    while (due_s := due_s + source.expovariate(rate)) < began_s + seconds:
        found.append(due_s)
    return found


async def _until(is_true: Callable[[], bool], within_s: float) -> None:
    end_s = time.monotonic() + within_s
    while not is_true() and time.monotonic() < end_s:
        await asyncio.sleep(0.01)


def quantile(values: list[float], share: float) -> float:
    """The value that ``share`` of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
