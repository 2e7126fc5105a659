"""How an image tests itself: the options of ``python -m scoring.selftest``."""

from __future__ import annotations

from collections.abc import Sequence

from registry.proof.plan import ProofPlan


def selftest(plan: ProofPlan, bundle: str, sample: str | None, imports: Sequence[str]) -> list[str]:
    """What follows the interpreter; ``bundle`` and ``sample`` are where these are for it."""
    command = ["-m", "scoring.selftest", bundle, "--timeout-s", f"{plan.timeout_s:g}"]
    if sample is not None:
        command += ["--sample", sample]
    for name in imports:
        command += ["--import", name]
    return command
