"""The part ``balance``: what HAProxy costs between a client and the replicas.

    python -m benchmarks.balance.part [--rounds 5] [--seconds 2] [--model digits|angle]

Latency: one request directly and one through HAProxy, in turn. Throughput: each round measures
directly, through HAProxy, through HAProxy and directly again, and compares within itself. Shown are
the medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import drive
from benchmarks.balance.stand import Pair, Stand, stand
from benchmarks.outcome import Finding, Outcome, load, table
from benchmarks.rates import Plan
from benchmarks.subjects import angle, digits

CONNECTIONS = 32
REQUESTS = 2000
ADDED_P50_MS, KEPT_SHARE = 0.15, 0.90
ORDER = (False, True, True, False)
"""Through HAProxy or not, within a round: what drifts evenly moves both alike."""


def balance(plan: Plan) -> Outcome:
    """Latency on one connection, and throughput on 32 with two replicas."""
    outcome = Outcome("balance")
    outcome.notes.append(
        "Client, HAProxy and both replicas share the cores, so with a model of some microseconds "
        "what HAProxy uses is taken from the replicas: the share that is kept is about replicas' "
        "CPU / (replicas' CPU + HAProxy's CPU + what its sockets cost them)."
    )
    _digits(plan, outcome)
    _angle(plan, outcome)
    return outcome


def _digits(plan: Plan, outcome: Outcome) -> None:
    with stand(digits(plan.scratch), "json", plan.scratch, threads=0) as found:
        _added(found, plan, outcome)
        _kept(found, plan, outcome, "digits, JSON")


def _angle(plan: Plan, outcome: Outcome) -> None:
    with stand(angle(), "v2", plan.scratch, threads=0) as found:
        _kept(found, plan, outcome, "text angle, binary body (v2)")


def _added(found: Stand, plan: Plan, outcome: Outcome) -> None:
    rounds = [found.turns(REQUESTS) for _ in range(plan.rounds)]
    rows = []
    for name, at, reach_ms in (("p50", 0.5, ADDED_P50_MS), ("p99", 0.99, None)):
        sides = [
            [times[int(len(times) * at)] for times in side] for side in zip(*rounds, strict=True)
        ]
        direct, front = sides
        added = statistics.median(b - a for a, b in zip(direct, front, strict=True))
        print(f"  {name}: direct {direct}, HAProxy {front}", flush=True)
        shown = (statistics.median(direct), statistics.median(front), added)
        rows.append([name, *(f"{one:.3f}" for one in shown)])
        outcome.findings.append(
            Finding(
                f"HAProxy adds to {name}, digits, JSON, 1 connection",
                f"<= {reach_ms:g} ms" if reach_ms is not None else "-",
                f"{added:.3f} ms",
                added <= reach_ms if reach_ms is not None else None,
            )
        )
    outcome.tables.append(table(["1 connection, ms", "direct", "HAProxy", "added"], rows))


def _kept(found: Stand, plan: Plan, outcome: Outcome, what: str) -> None:
    def measure(through_haproxy: bool) -> Pair:
        return found.full(
            through_haproxy=through_haproxy, connections=CONNECTIONS, seconds=plan.seconds
        )

    rounds = _rounds(plan, measure)
    share = statistics.median(
        sum(one.rate for one in front) / sum(one.rate for one in direct) for direct, front in rounds
    )
    rows = []
    for label, at in (("direct", 0), ("HAProxy", 1)):
        pairs = [one for pair in rounds for one in pair[at]]

        def median(name: str, pairs: list[Pair] = pairs) -> float:
            return float(statistics.median(getattr(one, name) for one in pairs))

        rows.append(
            [
                label,
                f"{median('rate'):,.0f}",
                f"{median('p50_ms'):.2f}",
                f"{median('p99_ms'):.2f}",
                f"{median('replicas_us'):.0f}",
                f"{median('haproxy_us'):.0f}",
                f"{sum(one.errors for one in pairs)}",
            ]
        )
    outcome.findings.append(
        Finding(
            f"throughput of 2 replicas behind HAProxy, of the same directly: {what}, "
            f"{CONNECTIONS} connections",
            f">= {KEPT_SHARE:.0%}",
            f"{share:.1%}",
            share >= KEPT_SHARE,
        )
    )
    header = [what, "requests/s", "p50 ms", "p99 ms", "CPU us, replicas", "CPU us, HAProxy"]
    outcome.tables.append(table([*header, "errors"], rows))


def _rounds(plan: Plan, measure: Callable[[bool], Pair]) -> list[tuple[list[Pair], list[Pair]]]:
    """Direct and through HAProxy, by round."""
    found: list[tuple[list[Pair], list[Pair]]] = []
    for number in range(plan.rounds):
        sides: tuple[list[Pair], list[Pair]] = ([], [])
        for through_haproxy in ORDER:
            one = measure(through_haproxy)
            sides[through_haproxy].append(one)
            side = "HAProxy" if through_haproxy else "direct"
            print(f"  round {number + 1}, {side}: {one}", flush=True)
        found.append(sides)
    return found


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--model", choices=["digits", "angle"], default=None)
    asked = parser.parse_args()
    drive.require_wrk()
    with tempfile.TemporaryDirectory(prefix="inferry-bench-") as scratch:
        plan, outcome = Plan(asked.rounds, asked.seconds, Path(scratch)), Outcome("balance")
        before = load()
        if asked.model != "angle":
            _digits(plan, outcome)
        if asked.model != "digits":
            _angle(plan, outcome)
    print(f"\nload average {before:.2f}, then {load():.2f}")
    for finding in outcome.findings:
        print(f"{finding.what}: {finding.measured} ({finding.reach})")
    print("\n\n".join(outcome.tables))


if __name__ == "__main__":
    main()
