"""A load test of one URL: locust sends in a process of its own, and what it counted comes back.

    plan = Plan("http://127.0.0.1:41733/score", (b"{}",), (Step(10.0, users=8),))
    result = summary(plan, run(plan))

locust changes Python's own modules when it is imported (gevent), so only its process does that:
process.py starts it with locustfile.py, which writes samples (sample.py) into a file.
"""

from __future__ import annotations

from runtime.bench.plan import Plan, Step
from runtime.bench.process import require_locust, run
from runtime.bench.sample import Sample
from runtime.bench.summary import Limits, Moment, StepResult, Summary, summary

__all__ = [
    "Limits",
    "Moment",
    "Plan",
    "Sample",
    "Step",
    "StepResult",
    "Summary",
    "require_locust",
    "run",
    "summary",
]
