"""What a load test found: by step, over time, and whether that is good enough. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.bench.histogram import merged, quantile_s
from runtime.bench.plan import Plan
from runtime.bench.sample import Sample

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
BUSY_SHARE = 0.85
"""Of a core: locust sends with one thread, and is late from about here on."""
STARVED_SHARE = 0.15
"""Of the time without a core that it wanted."""
REACHED = 0.95


@dataclass(frozen=True, slots=True)
class Limits:
    """What must hold; None: anything goes."""

    max_error_share: float | None = None
    max_p99_s: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A second or so of the test: ``rate`` of good answers, and times in seconds, None where there
    was no good answer."""

    at_s: float
    rate: float
    p50_s: float | None
    p99_s: float | None
    failed: int
    shed: int


@dataclass(frozen=True, slots=True)
class StepResult:
    """``rate``: good answers a second; ``times_s`` by share; ``client_share`` and ``starved_share``
    of a core: what the sending process used, and would have used besides."""

    users: int
    asked_rate: float | None
    seconds: float
    requests: int
    good: int
    shed: int
    failed: dict[str, int]
    rate: float
    times_s: dict[float, float]
    longest_s: float | None
    retry_after_s: float
    client_share: float
    starved_share: float

    @property
    def errors(self) -> int:
        """Requests that failed; what was shed did not."""
        return sum(self.failed.values())

    @property
    def error_share(self) -> float:
        """Of all that ended; 1 where nothing did."""
        return self.errors / self.requests if self.requests else 1.0

    @property
    def is_client_the_limit(self) -> bool:
        """Whether more could not have been sent, whatever the server can."""
        return self.is_client_busy or self.is_client_starved

    @property
    def is_client_busy(self) -> bool:
        """Whether the sending process did all it can."""
        return self.client_share >= BUSY_SHARE

    @property
    def is_client_starved(self) -> bool:
        """Whether others had the cores that it wanted."""
        return self.starved_share >= STARVED_SHARE

    @property
    def is_rate_missed(self) -> bool:
        """Whether what was asked for was not sent."""
        asked = self.asked_rate
        return asked is not None and self.requests < REACHED * asked * self.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """``complaints``: which limits were not kept, a line each."""

    steps: tuple[StepResult, ...]
    moments: tuple[Moment, ...]
    complaints: tuple[str, ...]


def summary(plan: Plan, samples: Sequence[Sample], limits: Limits | None = None) -> Summary:
    """``samples`` may end before the plan."""
    steps = []
    for number, step in enumerate(plan.steps):
        own = [sample for sample in samples if sample.step == number]
        if own:
            steps.append(_step(step.users, step.rate, own))
    moments = tuple(_moment(sample) for sample in samples if sample.seconds > 0)
    return Summary(tuple(steps), moments, tuple(_complaints(steps, limits or Limits())))


def _step(users: int, asked_rate: float | None, samples: Sequence[Sample]) -> StepResult:
    answered = merged(sample.answered for sample in samples)
    failed: Counter[str] = Counter()
    for sample in samples:
        failed.update(sample.failed)
    seconds = sum(sample.seconds for sample in samples)
    good = sum(answered.values())
    times = {share: quantile_s(answered, share) for share in QUANTILES}
    return StepResult(
        users=users,
        asked_rate=asked_rate,
        seconds=seconds,
        requests=sum(sample.requests for sample in samples),
        good=good,
        shed=sum(sample.shed for sample in samples),
        failed=dict(failed.most_common()),
        rate=good / seconds if seconds else 0.0,
        times_s={share: found for share, found in times.items() if found is not None},
        longest_s=quantile_s(answered, 1.0),
        retry_after_s=max(sample.retry_after_s for sample in samples),
        client_share=sum(sample.cpu_s for sample in samples) / seconds if seconds else 0.0,
        starved_share=sum(sample.starved_s for sample in samples) / seconds if seconds else 0.0,
    )


def _moment(sample: Sample) -> Moment:
    return Moment(
        at_s=sample.began_s,
        rate=sum(sample.answered.values()) / sample.seconds,
        p50_s=quantile_s(sample.answered, 0.5),
        p99_s=quantile_s(sample.answered, 0.99),
        failed=sum(sample.failed.values()),
        shed=sample.shed,
    )


def _complaints(steps: Sequence[StepResult], limits: Limits) -> list[str]:
    if not any(step.good for step in steps):
        return ["no request was answered"]
    found = []
    for step in steps:
        where = "" if len(steps) == 1 else f" in the step of {name(step)}"
        if limits.max_error_share is not None and step.error_share > limits.max_error_share:
            found.append(
                f"{step.errors} of {step.requests} requests failed{where}, more than"
                f" {limits.max_error_share:.2%}"
            )
        p99_s = step.times_s.get(0.99)
        if limits.max_p99_s is not None and (p99_s is None or p99_s > limits.max_p99_s):
            said = "nothing was answered" if p99_s is None else f"p99 was {p99_s * 1000:.1f} ms"
            found.append(f"{said}{where}, over {limits.max_p99_s * 1000:g} ms")
    return found


def name(step: StepResult) -> str:
    """``8 users`` or ``500 requests/s``."""
    return f"{step.users} users" if step.asked_rate is None else f"{step.asked_rate:g} requests/s"
