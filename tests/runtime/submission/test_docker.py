"""Scripts in containers of a real Docker Engine: of an image that has Python and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.tracking import RunRecord
from registry.tree import SourceFile
from runtime.errors import BadValueError
from runtime.submission.config import make_config
from runtime.submission.places.docker import LABEL, host_config
from tests.engine import ROOT, Engine
from tests.runtime.datastores.servers import wait_until
from tests.runtime.submission.conftest import Submit
from tests.runtime.submission.test_local import SCRIPT

pytestmark = pytest.mark.engine


@pytest.fixture
def target(workspace: Workspace, engine: Engine) -> Iterator[str]:
    """A target of kind docker; what a test leaves there is removed."""
    workspace.targets.attach("box", "docker", {})
    yield "box"
    for run in workspace.tracking.runs.search().runs:
        for id in containers(engine, run.id):
            engine.run("rm", "--force", "--volumes", id)


def containers(engine: Engine, run: str) -> list[str]:
    """Of one run."""
    return engine.run("ps", "--all", "--quiet", "--filter", f"label={LABEL}={run}").split()


def config(target: str, image: str, **docker: object) -> dict[str, object]:
    return {
        "target": target,
        "docker": {"image": image, "network": False, "memory_mb": 512, "cpus": 1, **docker},
    }


def test_a_script_runs_in_a_container_and_all_is_kept(
    run_script: Submit,
    target: str,
    engine: Engine,
    engine_base: str,
    workspace: Workspace,
    tmp_path: Path,
    lines: list[str],
) -> None:
    (tmp_path / "d.txt").write_text("DATA")
    hostile = ["a b", "$(touch x)", "`id`", "it's", '"', "--", "-c", "*", "\n", ""]
    run = run_script(
        SCRIPT,
        {
            **config(target, engine_base),
            "arguments": hostile,
            "environment": {"WORD": "'; touch x; '"},
        },
        inputs={"my-data": {"d.txt": SourceFile("d.txt", tmp_path, 4)}},
    )
    assert (run.status, run.cause) == ("finished", None), lines
    assert lines[0] == f"arguments {hostile!r}"
    assert run.metrics["loss"].count == 3000
    files = {file.path: file.size_bytes for file in workspace.tracking.files.list(run.id)}
    assert files.keys() >= {"models/model.bin", "outputs/result.txt"}
    assert workspace.models.get("thing:1").version == 1
    assert not containers(engine, run.id)


def test_cancel_and_limits_end_it(
    run_script: Submit,
    target: str,
    engine: Engine,
    engine_base: str,
    workspace: Workspace,
    lines: list[str],
) -> None:
    begun: list[RunRecord] = []

    def cancel() -> None:
        wait_until(lambda: "begun" in lines, "the script began", 60)
        workspace.tracking.runs.cancel(begun[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    run = run_script(
        "import time, signal\nsignal.signal(15, signal.SIG_IGN)\nprint('begun', flush=True)\n"
        "time.sleep(600)",
        {**config(target, engine_base), "grace_s": 0.2},
        on_begin=begun.append,
    )
    thread.join()
    assert (run.status, run.cause) == ("killed", "cancelled")
    assert not containers(engine, run.id)
    run = run_script("x = bytearray(400_000_000)", config(target, engine_base, memory_mb=64))
    assert (run.status, "memory" in str(run.cause)) == ("failed", True)
    assert not containers(engine, run.id)


@pytest.mark.slow
def test_the_container_of_a_submitter_that_was_killed_goes_with_the_next_submission(
    run_script: Submit,
    target: str,
    engine: Engine,
    engine_base: str,
    workspace: Workspace,
    folder: Path,
    tmp_path: Path,
) -> None:
    (folder / "train.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)")
    (folder / "run.yaml").write_text(
        f"script: train.py\ntarget: {target}\ndocker: {{image: '{engine_base}', network: false}}\n"
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        submitter = subprocess.Popen(
            [
                *(sys.executable, "-m", "runtime.cli.main", "run", "submit", "-c", "run.yaml"),
                *("--experiment", "e", "--workspace", str(workspace.root)),
            ],
            cwd=folder,
            stdout=file,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        wait_until(lambda: "begun" in log.read_text(), "the script began", 60)
    finally:
        submitter.kill()
        submitter.wait()
    run = workspace.tracking.runs.get("e:1")
    assert (run.status, run.cause) == ("failed", "its process ended without a word")
    assert len(containers(engine, run.id)) == 1
    assert run_script("", config(target, engine_base)).status == "finished"
    assert not containers(engine, run.id)


def test_what_the_engine_lacks_is_said(
    run_script: Submit, target: str, engine_base: str, workspace: Workspace
) -> None:
    with pytest.raises(BadValueError, match=r"docker\.image is missing"):
        run_script("", {"target": target})
    run = run_script("", config(target, "no-such-image-here:1"))
    assert "the engine has no image 'no-such-image-here:1'; pull or load it" in str(run.cause)
    python: dict[str, object] = {"python": {"interpreter": "python9.9"}}
    run = run_script("", {**config(target, engine_base), **python})
    assert (run.status, "cannot start the container" in str(run.cause)) == ("failed", True)
    workspace.targets.attach("away", "docker", {"url": "tcp://127.0.0.1:1"})
    run = run_script("", config("away", engine_base))
    assert "no Docker Engine answers" in str(run.cause)


def test_limits_are_as_the_configuration_says() -> None:
    docker = make_config(
        {
            "script": "a.py",
            "docker": {
                "image": "x",
                "memory_mb": 100,
                "cpus": 1.5,
                "network": False,
                "gpus": "all",
            },
        }
    ).docker
    found = host_config(docker, has_requirements=True)
    assert (found["mem_limit"], found["nano_cpus"]) == (100_000_000, 1_500_000_000)
    assert found["network_mode"] == "none"
    assert found["device_requests"][0]["Count"] == -1
    assert found["cap_drop"] == ["ALL"]
    assert found["binds"]
