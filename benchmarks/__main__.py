"""``make bench``: runs the parts of the suite one after another and writes benchmarks/RESULTS.md.

    make bench                                      # all; servers in 10 minutes, edge in 40
    make bench ARGS="--only small,faults --rounds 1 --seconds 1"
    make bench ARGS=--report                        # the page again, from what is kept

Peers come from scripts/peers and scripts/azure-reference, wrk from scripts/system-packages --bench.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks import drive, faults, health, models, overload, report, startup, user_load
from benchmarks.edge.part import edge
from benchmarks.images.part import images
from benchmarks.outcome import Outcome, commit, keep, kept, load, now
from benchmarks.rates import Plan

PARTS: dict[str, Callable[[Plan], Outcome]] = {
    "small": models.small,
    "mid": models.mid,
    "single": models.single,
    "scripts": models.scripts,
    "startup": startup.startup,
    "overload": overload.overload,
    "health": health.health,
    "faults": faults.faults,
    "locust": user_load.locust,
    "images": images,
    "edge": edge,
}


def main(argv: list[str]) -> int:
    """Runs what is asked; a part that fails stops none of the others. Returns the exit code."""
    asked = _parse(argv)
    failures = []
    if not asked.report:
        drive.require_wrk()
        with tempfile.TemporaryDirectory(prefix="inferry-bench-") as scratch:
            plan = Plan(asked.rounds, asked.seconds, Path(scratch))
            failures = [part for part in asked.only if not _run(part, plan)]
    outcomes = [outcome for outcome in map(kept, PARTS) if outcome is not None]
    arguments = f' ARGS="{shlex.join(argv)}"' if argv and not asked.report else ""
    print("\n" + report.write(outcomes, f"make bench{arguments}"))
    if failures:
        print(f"bench: failed: {', '.join(failures)}", file=sys.stderr)
    return 1 if failures else 0


def _parse(argv: list[str]) -> argparse.Namespace:
    def parts(text: str) -> list[str]:
        wrong = set(names := text.split(",")) - set(PARTS)
        if wrong:
            raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(wrong))}")
        return names

    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", type=parts, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="of the interleaved comparisons")
    parser.add_argument("--seconds", type=float, default=2, help="of one measurement")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the page")
    return parser.parse_args(argv)


def _run(part: str, plan: Plan) -> bool:
    print(f"{part}: load average {load():.2f}", flush=True)
    began_s, load_before, measured_at = time.monotonic(), load(), now()
    try:
        outcome = PARTS[part](plan)
    except Exception:  # whatever it is, the other parts can be measured
        traceback.print_exc()
        return False
    outcome.load_before, outcome.measured_at, outcome.commit = load_before, measured_at, commit()
    outcome.took_s = time.monotonic() - began_s
    keep(outcome)
    print(f"{part}: {outcome.took_s:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
