"""The part ``tracking``: points a second, eight writers, lists and charts at full size.

    python -m benchmarks.tracking.part [--rounds 3] [--only rates,sizes,peer-sizes] [--runs 100000]

Beside it MLflow with its stock client and ``mlflow server`` on SQLite, where scripts/peers has made
its virtual environment. Rounds alternate between the two. What is compared with MLflow's server is
Inferry without a server, which is how a script on the same machine logs; through a service the
figures will be others.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.outcome import Finding, Outcome, load, table
from benchmarks.servers import free_port
from benchmarks.tracking import filled, mlflow_server, writers
from benchmarks.tracking.writers import Writing, write
from registry import Workspace
from registry.tracking import Tracking

COUNT = 200_000
"""Points of one writer of Inferry."""
FLUSHED, PEER, PEER_ASYNC, PEER_BATCH = 500, 100, 1_000, 10_000
"""Points where each one is acknowledged, and of MLflow's client, which is slower."""
REACH_RATE, REACH_TIMES, REACH_MS = 20_000, 5, 100
REPEATS = 40
LISTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("the newest 50", "", ()),
    ("order by accuracy, descending", "", ("metrics.accuracy DESC",)),
    ("order by a param", "", ("params.lr ASC",)),
    ("accuracy > 0.9", "metrics.accuracy > 0.9", ()),
    ("accuracy > 0.9999 (10 runs)", "metrics.accuracy > 0.9999", ()),
    ("a tag that one run has", "tags.n = '777'", ()),
    ("failed, by loss", "status = 'FAILED'", ("metrics.loss ASC",)),
    (
        "lr = 0.1 and loss < 0.01, by loss",
        "params.lr = '0.1' and metrics.loss < 0.01",
        ("metrics.loss ASC",),
    ),
)


def rates(rounds: int, scratch: Path, outcome: Outcome) -> None:
    """Points a second."""
    root = Workspace.init(scratch / ".inferry", base="none").root
    peer = mlflow_server.python()
    own: dict[str, list[float]] = {}
    lost = 0

    def measure(name: str, writing: Writing, count: int) -> None:
        nonlocal lost
        own.setdefault(name, []).append(writing.rate)
        print(f"  {name}: {writing.rate:,.0f} points/s", flush=True)
        if name.startswith("Inferry"):
            tracking = Tracking.open(root)
            counts = [tracking.metrics.latest(id)["loss"].count for id in writing.runs]
            lost += sum(count - there for there in counts)

    def inferry() -> None:
        python = sys.executable
        measure("Inferry, 1 writer", write(writers.INFERRY, python, scratch, COUNT), COUNT)
        share = COUNT // 4
        measure(
            "Inferry, 8 writers", write(writers.INFERRY, python, scratch, share, writers=8), share
        )
        measure(
            "Inferry, 1 writer, each point acknowledged",
            write(writers.INFERRY_FLUSHED, python, scratch, FLUSHED),
            FLUSHED,
        )

    def mlflow(url: str) -> None:
        assert peer is not None
        for name, code, count, several in (
            ("MLflow, 1 writer, log_metric", writers.MLFLOW, PEER, 1),
            ("MLflow, 8 writers, log_metric", writers.MLFLOW, PEER, 8),
            ("MLflow, 1 writer, asynchronous", writers.MLFLOW_ASYNC, PEER_ASYNC, 1),
            ("MLflow, 1 writer, log_batch of 1,000", writers.MLFLOW_BATCH, PEER_BATCH, 1),
        ):
            measure(name, write(code, peer, scratch, count, url, writers=several), count)

    if peer is None:
        for _ in range(rounds):
            inferry()
    else:
        with mlflow_server.serving(scratch, free_port()) as server:
            for _ in range(rounds):
                inferry()
                mlflow(server.url)
    _report_rates(own, lost, outcome)


def _report_rates(own: dict[str, list[float]], lost: int, outcome: Outcome) -> None:
    middle = {name: statistics.median(found) for name, found in own.items()}
    outcome.tables.append(
        table(
            ["logging", "points/s", "lowest", "highest"],
            [
                [name, f"{middle[name]:,.0f}", f"{min(found):,.0f}", f"{max(found):,.0f}"]
                for name, found in own.items()
            ],
        )
    )
    rate = middle["Inferry, 1 writer"]
    outcome.findings += [
        Finding(
            "metric points a second, 1 writer, all acknowledged at the end",
            f">= {REACH_RATE:,}",
            f"{rate:,.0f}",
            rate >= REACH_RATE,
        ),
        Finding("points lost, 8 writers", "0", str(lost), lost == 0),
    ]
    peers = {name: found for name, found in middle.items() if name.startswith("MLflow, 1")}
    if peers:
        name, best = max(peers.items(), key=lambda pair: pair[1])
        outcome.findings.append(
            Finding(
                f"of the fastest of MLflow's ways ({name.removeprefix('MLflow, 1 writer, ')})",
                f">= {REACH_TIMES} x",
                f"{rate / best:.1f} x",
                rate >= REACH_TIMES * best,
            )
        )


def sizes(count: int, scratch: Path, outcome: Outcome, *, with_peer: bool) -> None:
    """Lists and charts at full size."""
    began_s = time.monotonic()
    tracking = filled.fill(scratch / "full", count)
    print(f"  filled in {time.monotonic() - began_s:.0f} s", flush=True)
    own = {}
    for name, text, order in LISTS:
        own[name] = _p95(_search(tracking, text, order))
        print(f"  Inferry, {name}: {own[name]:.1f} ms", flush=True)
    peer = _mlflow_lists(count, scratch) if with_peer else {}
    rows = [
        [name, f"{own[name]:.1f}", f"{peer[name]:.1f}" if name in peer else "-"] for name in own
    ]
    charts = _charts(tracking)
    rows += [[name, f"{found:.1f}", "-"] for name, found in charts.items()]
    outcome.tables.append(table([f"{count:,} runs, p95 in ms", "Inferry", "MLflow"], rows))
    size_mb = (scratch / "full/workspace.db").stat().st_size / 1e6
    outcome.notes.append(
        f"The database of {count:,} runs with 1,000,000 points has {size_mb:.0f} MB. Inferry is"
        " asked in process, MLflow over HTTP on the same machine: an answer of its server costs a"
        " few ms more by that."
    )
    for what, found in (("a list of runs", own), ("a chart", charts)):
        worst, slowest = max(found.items(), key=lambda pair: pair[1])
        outcome.findings.append(
            Finding(
                f"{what} at full size, p95 of the slowest kind ({worst})",
                f"<= {REACH_MS} ms",
                f"{slowest:.1f} ms",
                slowest <= REACH_MS,
            )
        )


def _search(tracking: Tracking, text: str, order: Sequence[str]) -> Callable[[], object]:
    return lambda: tracking.runs.search(limit=50, filter=text, order_by=order)


def _charts(tracking: Tracking) -> dict[str, float]:
    """Of one series that is as long as all others together, and of a usual one."""
    found = {}
    for length in (10_000, 1_000_000):
        run = tracking.runs.create("long")
        for start in range(0, length, 50_000):
            points = [("loss", float(n), n, n) for n in range(start, min(start + 50_000, length))]
            tracking.runs.log(run.id, points=points)
        found[f"a chart of {length:,} points"] = _p95(
            lambda id=run.id: tracking.metrics.chart(id, "loss", 500)  # type: ignore[misc]
        )
    return found


def _mlflow_lists(count: int, scratch: Path) -> dict[str, float]:
    if mlflow_server.python() is None:
        return {}
    with mlflow_server.serving(scratch, free_port()) as server:
        began_s = time.monotonic()
        mlflow_server.fill(server.database, count)
        print(f"  MLflow filled in {time.monotonic() - began_s:.0f} s", flush=True)
        ids = [str(number) for number in range(1, 11)]
        found = {}
        for name, text, order in LISTS:
            body = {"experiment_ids": ids, "filter": text, "order_by": order, "max_results": 50}
            found[name] = _p95(lambda body=body: _ask(server.url, body), 10)  # type: ignore[misc]
            print(f"  MLflow, {name}: {found[name]:.1f} ms", flush=True)
        return found


def _ask(url: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/runs/search",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        json.loads(answer.read())


def _p95(call: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        call()
        times.append((time.perf_counter() - began_s) * 1000)
    return sorted(times)[int(len(times) * 0.95) - 1]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=filled.RUNS)
    parser.add_argument("--only", default="rates,sizes,peer-sizes")
    asked = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends MLflow's server, too
    outcome = Outcome("tracking")
    print(f"load average {load():.2f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="inferry-tracking-") as scratch:
        if "rates" in asked.only:
            rates(asked.rounds, Path(scratch), outcome)
        if "sizes" in asked.only:
            with_peer = "peer-sizes" in asked.only
            sizes(asked.runs, Path(scratch), outcome, with_peer=with_peer)
    for finding in outcome.findings:
        verdict = "reached" if finding.reached else "MISSED"
        print(f"{finding.what}: {finding.measured} ({finding.reach}): {verdict}")
    print("\n\n".join([*outcome.tables, *outcome.notes]))


if __name__ == "__main__":
    main()
