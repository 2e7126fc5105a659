"""The portal's pages of a workspace of full size: p95 through HTTP, beside an empty page.

    python -m benchmarks.portal [--runs 100000] [--repeats 60]

The workspace is that of ``benchmarks.tracking.filled``: 100,000 runs of ten experiments with
1,000,000 points; one run more has a series of 1,000,000 points of its own. The service runs in a
process of its own, one client asks one page after the other over one connection. An empty page of
the same service, and a request that is nothing but HTTP, say what a page costs before it has
content.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from benchmarks.outcome import table
from benchmarks.tracking import filled
from registry.tracking import Tracking

REACH_MS = 100
LONG = 1_000_000
AT_ONCE = 20_000
TAG = "tags.n = '777'"


def fill(folder: Path, runs: int) -> Tracking:
    """The workspace at ``folder/ws``, with one long series."""
    tracking = filled.fill(folder / "ws", runs)
    run = tracking.runs.create("exp2", name="long", started_ms=filled.STARTED_MS)
    for start in range(0, LONG, AT_ONCE):
        points = [
            ("loss", 1 / (1 + n / 1000) + (n % 97) / 1000, n, filled.STARTED_MS + n)
            for n in range(start, start + AT_ONCE)
        ]
        tracking.runs.log(run.id, points=points)
    return tracking


def pages(tracking: Tracking) -> Mapping[str, str]:
    """What is asked for, by what it is."""
    first = tracking.experiments.get("exp1").id
    newest = tracking.runs.search(experiments=[first], limit=12).runs
    long = tracking.runs.search(filter="attributes.run_name = 'long'", limit=1).runs[0]
    here = f"/ui/w/default/experiments/{first}"
    deep = tracking.runs.search(experiments=[first], limit=50).next_token or ""
    compare = "&".join(f"run={run.id}" for run in newest)
    return {
        "nothing but HTTP": "/ui/static/icon.svg",
        "an empty page": "/ui/w/default/images",
        "the overview": "/ui/w/default",
        "the experiments": "/ui/w/default/experiments",
        "the newest runs of an experiment": here,
        "its runs, page 200": f"{here}?token={deep.partition('-')[0]}-10000",
        "ordered by accuracy": f"{here}?order={quote('metrics.`accuracy` DESC')}",
        "ordered by a param": f"{here}?order={quote('params.`lr` ASC')}",
        "filtered: accuracy > 0.9": f"{here}?filter={quote('metrics.accuracy > 0.9')}",
        "filtered: one tag": f"{here}?filter={quote(TAG)}",
        "a run": f"/ui/w/default/runs/{newest[0].id}",
        "a run with 1,000,000 points": f"/ui/w/default/runs/{long.id}",
        "12 runs compared": f"/ui/w/default/compare?{compare}",
    }


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """``inferry registry serve`` for the block; its address and port."""
    command = [sys.executable, "-m", "runtime.cli.main", "registry", "serve", "--port", "0"]
    with subprocess.Popen([*command, "-w", str(root)], stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            for line in served.stdout:
                if (found := re.search(r"ready at http://(\S+)", line)) is not None:
                    yield found[1]
                    return
            raise AssertionError("the service did not start")
        finally:
            served.terminate()
            served.wait(30)


def p95_ms(host: str, path: str, repeats: int) -> tuple[float, float, int]:
    """Median and p95 of so many requests after three that do not count, and bytes."""
    link = http.client.HTTPConnection(host, timeout=60)
    times, size = [], 0
    try:
        for number in range(repeats + 3):
            began = time.perf_counter()
            link.request("GET", path)
            answer = link.getresponse()
            size = len(answer.read())
            assert answer.status == 200, (path, answer.status)
            if number >= 3:
                times.append((time.perf_counter() - began) * 1000)
    finally:
        link.close()
    return statistics.median(times), statistics.quantiles(times, n=20)[-1], size


def measure(folder: Path, runs: int, repeats: int) -> str:
    """The table of all pages."""
    tracking = fill(folder, runs) if not (folder / "ws").exists() else Tracking.open(folder / "ws")
    rows, worst = [], 0.0
    with serving(folder / "ws") as host:
        for what, path in pages(tracking).items():
            median, p95, size = p95_ms(host, path, repeats)
            worst = max(worst, p95)
            rows.append([what, f"{median:.1f}", f"{p95:.1f}", f"{size / 1000:.0f} kB"])
            print(f"  {what}: p95 {p95:.1f} ms", flush=True)
    said = "within" if worst <= REACH_MS else "over"
    head = [f"{runs:,} runs", "median ms", "p95 ms", "page"]
    return f"{table(head, rows)}\n\nThe slowest p95 is {worst:.1f} ms, {said} {REACH_MS} ms."


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="p95 of the portal's pages at full size")
    parser.add_argument("--runs", type=int, default=filled.RUNS)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where the workspace stays, to be used again")
    given = parser.parse_args(argv)
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        print(measure(given.folder, given.runs, given.repeats))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(measure(Path(folder), given.runs, given.repeats))


if __name__ == "__main__":
    main()
