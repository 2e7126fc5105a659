from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.autoscale", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_record_is_replayed_under_each_policy(tmp_path: Path) -> None:
    path = tmp_path / "monday.csv"
    path.write_text("".join(f"{second},{200 + second % 50}\n" for second in range(400)))
    done = run("--recorded", path)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| monday")]
    assert {row[1] for row in rows} >= {"ideal", "fixed", "ours", "Knative, in flight"}


@pytest.mark.slow
def test_what_cannot_be_replayed_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("1\ntwo\n")
    for arguments in (("--recorded", path), ("--recorded", tmp_path / "none.csv")):
        done = run(*arguments)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
    assert run("no such load").returncode == 2
