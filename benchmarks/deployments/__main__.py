"""``make bench-deployments``: deployments under load, part by part.

make bench-deployments                                    # all, about 15 minutes on two cores
make bench-deployments ARGS="--only updates,kill-replica"
make bench-deployments ARGS=--short                       # a tenth of each: does it work?
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable

from benchmarks.deployments import report
from benchmarks.deployments.kills import (
    kill_controller,
    kill_engine,
    kill_haproxy,
    kill_replica,
)
from benchmarks.deployments.plan import Plan
from benchmarks.deployments.releases import releases
from benchmarks.deployments.report import Part
from benchmarks.deployments.scaling import step, zero
from benchmarks.deployments.updates import updates, updates_docker
from benchmarks.outcome import load

PARTS: dict[str, Callable[[Plan], Part]] = {
    "updates": updates,
    "updates-docker": updates_docker,
    "kill-replica": kill_replica,
    "kill-haproxy": kill_haproxy,
    "kill-controller": kill_controller,
    "kill-engine": kill_engine,
    "releases": releases,
    "step": step,
    "zero": zero,
}
SHORT = 0.1


def main(argv: list[str]) -> int:
    """A part that fails stops none of the others. Returns the exit code."""
    asked = _parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing shall be left behind
    found, failed = [], []
    command = shlex.join(["python", "-m", "benchmarks.deployments", *argv])
    for name in asked.only:
        part = _run(name, SHORT if asked.short else asked.share)
        if part is None:
            failed.append(name)
        else:
            found.append(part)
            report.keep([part], command)
    print("\n" + report.text(found, command))
    if failed:
        print(f"bench-deployments: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, share: float) -> Part | None:
    began_s, before = time.monotonic(), load()
    print(f"{name}: load average {before:.2f}", flush=True)
    try:
        part = PARTS[name](Plan(share, began_s))
    except Exception:  # whatever it is, the other parts can be measured
        traceback.print_exc()
        return None
    part.took_s, part.load_before = time.monotonic() - began_s, before
    print(f"{name}: {part.took_s:.0f} s", flush=True)
    return part


def _parse(argv: list[str]) -> argparse.Namespace:
    def parts(words: str) -> list[str]:
        wrong = set(names := words.split(",")) - set(PARTS)
        if wrong:
            raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(wrong))}")
        return names

    parser = argparse.ArgumentParser(prog="python -m benchmarks.deployments")
    parser.add_argument("--only", type=parts, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--short", action="store_true", help=f"{SHORT:g} of all events")
    parser.add_argument("--share", type=float, default=1.0, help="of all events")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
