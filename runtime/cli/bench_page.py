"""A load test for people: charts over time where there is a terminal, tables, and what to make of
them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from runtime.cli.output import Record, print_records
from runtime.cli.text import printable

if TYPE_CHECKING:
    from runtime.bench import Moment, Plan, Sample, StepResult
    from runtime.cli.bench import Found

WIDTH, HEIGHT = 60, 6
COLUMNS = ("step", "rate", "p50 ms", "p90", "p95", "p99", "p99.9", "longest", "failed", "shed")
REPLICA_COLUMNS = ("replica", "in_flight", "most", "requests_a_batch")


@contextlib.contextmanager
def drawing(plan: Plan, *, is_quiet: bool) -> Iterator[Callable[[Sequence[Sample]], None]]:
    """What draws the samples so far, for the block; nothing where nobody would see it."""
    if is_quiet or not sys.stdout.isatty():
        yield lambda samples: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from runtime.bench import summary

    is_plain = _is_plain()  # within the block rich has taken the stream's place
    with Live(Text("locust starts"), console=Console(), transient=True) as live:

        def draw(samples: Sequence[Sample]) -> None:
            found = summary(plan, samples)
            done_s = sum(sample.seconds for sample in samples)
            lines = [f"{min(done_s, plan.duration_s):.0f} of {plan.duration_s:.0f} s"]
            live.update(Text("\n".join([*lines, *charts(found.moments, is_plain=is_plain)])))

        yield draw


def shown(found: Found) -> None:
    """All of it, to standard output."""
    click.echo(f"{printable(found.url)}, with {printable(found.data)}")
    if sys.stdout.isatty():
        for line in charts(found.summary.moments, is_plain=_is_plain()):
            click.echo(line)
    click.echo()
    print_records([_row(step) for step in found.summary.steps], COLUMNS, "table")
    failures = [
        {"step": _name(step), "failed": kind, "times": str(times)}
        for step in found.summary.steps
        for kind, times in step.failed.items()
    ]
    if failures:
        click.echo()
        print_records(failures, ("step", "failed", "times"), "table")
    if found.replicas:
        click.echo()
        rows = [
            {
                "replica": each.id,
                "in_flight": f"{each.mean_in_flight:.1f}",
                "most": f"{each.most_in_flight:g}",
                "requests_a_batch": _number(each.requests_per_batch),
            }
            for each in found.replicas
        ]
        print_records(rows, REPLICA_COLUMNS, "table")
    for line in notes(found.summary.steps, is_whole=found.is_whole):
        click.echo(f"\n{line}")


def charts(moments: Sequence[Moment], *, is_plain: bool) -> list[str]:
    """Good answers a second, and p50 and p99 below them, over the time of the test."""
    from runtime.bench.chart import chart

    if not moments:
        return []
    rates = [moment.rate for moment in moments]
    lines = ["", f"good answers a second, up to {max(rates):,.0f}"]
    lines += chart(rates, width=WIDTH, height=HEIGHT, is_plain=is_plain)
    for name, times in (
        ("p50", [moment.p50_s for moment in moments]),
        ("p99", [moment.p99_s for moment in moments]),
    ):
        most = max((each for each in times if each is not None), default=None)
        lines.append(f"{name}, up to {_ms(most)} ms")
        lines += chart(times, width=WIDTH, height=2, is_plain=is_plain)
    missed = [float(moment.failed + moment.shed) for moment in moments]
    if any(missed):
        lines.append(f"failed or shed, up to {max(missed):,.0f}")
        lines += chart(missed, width=WIDTH, height=1, is_plain=is_plain)
    return lines


def notes(steps: Sequence[StepResult], *, is_whole: bool) -> list[str]:
    """What the numbers do not say by themselves."""
    found = [] if is_whole else ["It was interrupted: this is what there was by then."]
    busiest = max(steps, key=lambda step: step.client_share, default=None)
    hungriest = max(steps, key=lambda step: step.starved_share, default=None)
    then = "The server may be able to do more, and times have the sender's in them."
    if busiest is not None and busiest.is_client_busy:
        found.append(
            f"The sender was the limit, not the server: locust used {busiest.client_share:.0%} of"
            f" one core, and has only one. {then} Send less, or from several machines."
        )
    elif hungriest is not None and hungriest.is_client_starved:
        found.append(
            f"The sender had no core for {hungriest.starved_share:.0%} of the time, as others used"
            f" them. {then} Send less, or from another machine."
        )
    for step in steps:
        if step.is_rate_missed and not step.is_client_the_limit:
            found.append(
                f"{_name(step)} were asked for and {step.requests / step.seconds:,.0f} sent: all"
                f" {step.users} users waited for answers. More --users send more."
            )
    shed = sum(step.shed for step in steps)
    if shed:
        longest_s = max(step.retry_after_s for step in steps)
        found.append(
            f"{shed} requests were shed: 429 with Retry-After, {longest_s:g} s at most. They count"
            " as neither good nor failed."
        )
    return found


def _row(step: StepResult) -> Record:
    times = step.times_s
    return {
        "step": _name(step),
        "rate": f"{step.rate:,.1f}/s",
        "p50 ms": _ms(times.get(0.5)),
        "p90": _ms(times.get(0.9)),
        "p95": _ms(times.get(0.95)),
        "p99": _ms(times.get(0.99)),
        "p99.9": _ms(times.get(0.999)),
        "longest": _ms(step.longest_s),
        "failed": f"{step.errors} of {step.requests}",
        "shed": str(step.shed),
    }


def _name(step: StepResult) -> str:
    from runtime.bench.summary import name

    return name(step)


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.2f}" if seconds < 0.1 else f"{seconds * 1000:,.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _is_plain() -> bool:
    return "utf" not in (sys.stdout.encoding or "").lower()
