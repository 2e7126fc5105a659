"""``kill -9`` of the runner, at many moments, and of the real one while a script runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.server import ROOT

STRIDE = 4
LEAST_KILLS = 5


@pytest.mark.slow
def test_a_killed_runner_loses_no_finished_step_and_repeats_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.pipelines.killed", str(tmp_path), str(STRIDE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    resumed = [kill for kill in kills if kill["refused"] is None]
    assert len(resumed) >= LEAST_KILLS
    for kill in kills:
        if kill["refused"] is not None:  # before it was written down, or after all was done
            assert "pipeline.json" in kill["refused"] or "finished" in kill["refused"]
            continue
        assert kill["status"] == "finished", kill
        assert kill["states"] == dict.fromkeys("abmic", "finished"), kill
        assert {step: len(runs) for step, runs in kill["after"].items()} == dict.fromkeys(
            "abmic", 1
        ), kill
        for earlier, later in (("before", "between"), ("between", "after")):
            assert kill[earlier].items() <= kill[later].items(), kill
        (image,) = kill["images"]  # one, though a version number may be left out
        assert kill["models"] == ["m:1"], kill
        assert kill["lineage"] == ["model m:1", f"image {image}"], kill
    assert any(0 < len(kill["before"]) < 5 for kill in resumed)
