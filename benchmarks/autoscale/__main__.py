"""python -m benchmarks.autoscale [all | LOAD...] [--recorded FILE.csv] [--tune] [--processes 2]

Prints Markdown: a simulated week under each policy, against the ideal; with "all" a day of each
kind of load too. Seeds are fixed: the same numbers each time.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from benchmarks.autoscale import study, tuning
from benchmarks.autoscale.ideal import Ideal
from benchmarks.autoscale.load import Load
from benchmarks.autoscale.recorded import BadRecordError, recorded
from benchmarks.autoscale.service import Service
from benchmarks.autoscale.study import Row, Setting

HEAD = (
    "| load | policy | replica-seconds | of the ideal | of the ideal that misses nothing "
    "| missed | most replicas | changes | to capacity |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    options = _options()
    began_s = time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        if options.tune:
            for name, result in pool.map(tuning.tried, tuning.settings()):
                print(f"{name}: {result.replica_s:,.0f} s, {result.missed_share:.4%} missed")
            return 0
        try:
            jobs = [_submit(pool, *one) for one in _chosen(options)]
        except (BadRecordError, OSError) as error:
            print(f"{options.recorded}: {error}", file=sys.stderr)
            return 1
        print(HEAD, flush=True)
        for load, rows, bound in jobs:
            _print(load, [row.result() for row in rows], bound.result())
    print(f"\nTook {time.monotonic() - began_s:.0f} s.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscale", description=__doc__)
    names = [study.WEEK, *study.KINDS]
    parser.add_argument("loads", nargs="*", metavar="LOAD", help=f"all, or of: {', '.join(names)}")
    parser.add_argument("--recorded", type=Path, help="CSV: 'second,requests' or 'requests'")
    parser.add_argument("--tune", action="store_true", help="try settings on the tuning week")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.loads = names if options.loads == ["all"] else options.loads or [study.WEEK]
    for name in options.loads:
        if name not in names:
            parser.error(f"there is no load {name!a}; there are: {', '.join(names)}")
    return options


def _chosen(options: argparse.Namespace) -> list[tuple[Load, Setting]]:
    if options.recorded is not None:
        load = recorded(options.recorded)
        service = Service()
        mean = float(load.arrivals.mean()) / service.rate_rps
        return [(load, Setting(service, mean))]
    return [study.generated(name) for name in options.loads]


def _submit(
    pool: ProcessPoolExecutor, load: Load, setting: Setting
) -> tuple[Load, list[Future[Row]], Future[Ideal]]:
    bound = pool.submit(study.bound, load, setting)  # the longest first
    names = ["fixed", *study.policies(setting)]
    return load, [pool.submit(study.replay, load, setting, name) for name in names], bound


def _print(load: Load, rows: list[Row], bound: Ideal) -> None:
    print(
        f"| {load.name} | ideal | {bound.allowed_missed_s:,.0f} | 1.000 "
        f"| {bound.allowed_missed_s / bound.nothing_missed_s:.3f} | <= {study.ALLOWED:.1%} | | | |"
    )
    for row in rows:
        found = row.result
        capacity = "" if found.to_capacity_s is None else f"{found.to_capacity_s} s"
        print(
            f"| {row.load} | {row.policy} | {found.replica_s:,.0f} "
            f"| {found.replica_s / bound.allowed_missed_s:.3f} "
            f"| {found.replica_s / bound.nothing_missed_s:.3f} "
            f"| {found.missed_share:.4%} | {found.most} | {found.changes} | {capacity} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
