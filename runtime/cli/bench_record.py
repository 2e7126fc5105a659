"""A load test as JSON has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.cli.output import Json, Record

if TYPE_CHECKING:
    from runtime.bench import Moment, StepResult
    from runtime.cli.bench import Found


def record(found: Found) -> Record:
    """Times in milliseconds."""
    return {
        "url": found.url,
        "data": found.data,
        "is_whole": found.is_whole,
        "steps": [_step(step) for step in found.summary.steps],
        "over_time": [_moment(moment) for moment in found.summary.moments],
        "replicas": [
            {
                "id": each.id,
                "mean_in_flight": each.mean_in_flight,
                "most_in_flight": each.most_in_flight,
                "requests_per_batch": each.requests_per_batch,
            }
            for each in found.replicas
        ],
        "complaints": list(found.summary.complaints),
    }


def _step(step: StepResult) -> Record:
    times: dict[str, Json] = {
        f"p{share * 100:g}_ms": seconds * 1000 for share, seconds in step.times_s.items()
    }
    failed: dict[str, Json] = dict(step.failed)
    return {
        "users": step.users,
        "asked_rate": step.asked_rate,
        "seconds": step.seconds,
        "requests": step.requests,
        "good": step.good,
        "shed": step.shed,
        "longest_retry_after_s": step.retry_after_s,
        "failed": failed,
        "error_share": step.error_share,
        "rate": step.rate,
        **times,
        "longest_ms": None if step.longest_s is None else step.longest_s * 1000,
        "client_cores": step.client_share,
        "client_starved_cores": step.starved_share,
        "is_client_the_limit": step.is_client_the_limit,
        "is_rate_missed": step.is_rate_missed,
    }


def _moment(moment: Moment) -> Record:
    return {
        "at_s": moment.at_s,
        "rate": moment.rate,
        "p50_ms": None if moment.p50_s is None else moment.p50_s * 1000,
        "p99_ms": None if moment.p99_s is None else moment.p99_s * 1000,
        "failed": moment.failed,
        "shed": moment.shed,
    }
