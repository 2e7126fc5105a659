"""``inferry pipeline ...`` with real scripts."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import Workspace
from runtime.pipelines import (
    Event,
    Pipeline,
    PipelineFailedError,
    PipelineView,
    RunConfig,
    ScriptStep,
    pipeline_view,
)
from tests.runtime.conftest import Cli
from tests.runtime.deployments.waiting import eventually
from tests.runtime.server import BIN, environment

PIPELINE = """
name: sums
parameters: {number: 3}
steps:
  write:
    script: write.py
    folder: code
    arguments: ["${number}"]
  double:
    script: double.py
    folder: code
    inputs: {numbers: write/number.txt, more: ./more.txt}
  register: {kind: register, model: sums, files: double}
"""
WRITE = """
import pathlib, sys
pathlib.Path("outputs").mkdir(exist_ok=True)
pathlib.Path("outputs/number.txt").write_text(sys.argv[1])
print("wrote", sys.argv[1])
"""
DOUBLE = """
import os, pathlib
number = pathlib.Path("inputs/numbers/number.txt").read_text()
assert number == pathlib.Path(os.environ["INFERRY_INPUT_NUMBERS"], "number.txt").read_text()
more = pathlib.Path("inputs/more/more.txt").read_text()
pathlib.Path("outputs").mkdir(exist_ok=True)
pathlib.Path("outputs/double.txt").write_text(str(2 * int(number) + int(more)))
"""
WAITING = """
import pathlib, time
place = pathlib.Path({place!r})
with (place / "begun").open("a") as file:
    file.write("x")
while not (place / "go").exists():
    time.sleep(0.05)
"""


@pytest.fixture
def file(cli: Cli, tmp_path: Path) -> Path:
    """Of a pipeline with three steps."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "write.py").write_text(WRITE)
    (code / "double.py").write_text(DOUBLE)
    (tmp_path / "more.txt").write_text("1")
    path = tmp_path / "pipeline.yaml"
    path.write_text(PIPELINE)
    return path


def test_scripts_hand_files_on_and_are_reused(cli: Cli, file: Path, tmp_path: Path) -> None:
    done = cli("pipeline", "run", str(file), "--set", "number=20")
    assert done.code == 0, done.stderr
    assert "write | wrote 20" in done.stderr
    assert "sums:1: pipeline sums, finished" in done.stdout
    workspace = Workspace.open(tmp_path / ".inferry")
    view = pipeline_view(workspace, "sums:1")
    assert view.parameters == {"number": "20"}
    tracking = workspace.tracking
    assert tracking.files.read(view.step("double").run_id or "", "outputs/double.txt") == b"41"
    model = workspace.models.get("sums")
    assert (view.step("register").made, [each.path for each in model.files]) == (
        "sums:1",
        ["double.txt"],
    )
    lines = workspace.lineage.of_run(view.step("double").run or "")
    assert [str(link) for link in lines.used_by] == ["model sums:1"]

    again = cli("pipeline", "run", str(file), "--set", "number=20", "--output", "json")
    record = json.loads(again.stdout)
    assert (again.code, again.stderr, record["status"]) == (0, "", "finished")
    assert [step["state"] for step in record["steps"]] == ["reused"] * 3
    assert [step["reused_from"] for step in record["steps"]] == [step.run for step in view.steps]

    (tmp_path / "more.txt").write_text("2")
    assert cli("pipeline", "run", str(file), "--set", "number=20").code == 0
    third = pipeline_view(
        workspace, json.loads(cli("pipeline", "list", "-o", "json").stdout)[0]["id"]
    )
    assert [step.state for step in third.steps] == ["reused", "finished", "finished"]
    assert third.step("register").made == "sums:2"


def test_a_failed_script_is_said_with_its_last_words(cli: Cli, file: Path, tmp_path: Path) -> None:
    (tmp_path / "code" / "double.py").write_text("print('so far so good')\nraise KeyError('lost')")
    done = cli("pipeline", "run", str(file), "--no-reuse")
    assert done.code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("inferry: pipeline run sums:1 failed: step 'double' failed: ")
    assert "lost" in last
    assert last.endswith("; go on with: inferry pipeline resume sums:1")
    assert "so far so good" in done.stderr
    assert "Traceback" in done.stderr  # the script's own
    assert "step 'double', which it needs, failed" in done.stdout
    (row,) = json.loads(cli("pipeline", "list", "sums", "--output", "json").stdout)
    assert (row["status"], row["steps"]) == ("failed", "1/3")

    (tmp_path / "code" / "double.py").write_text(DOUBLE)
    resumed = cli("pipeline", "resume", "sums:1")
    assert resumed.code == 0, resumed.stderr
    assert "write | " not in resumed.stderr
    shown = cli("pipeline", "show", "sums:1")
    assert "2 tries" in shown.stdout
    for words, said in (
        (["resume", "sums:1"], "has finished; there is nothing to resume"),
        (["cancel", "sums:1"], "has ended already: finished"),
        (["show", "sums:2"], "is no pipeline's"),
        (["resume", "sums:2"], "is no pipeline's"),
        (["show", "none:1"], "there is no run"),
    ):
        refused = cli("pipeline", *words)
        assert (refused.code, refused.stdout) == (1, "")
        assert said in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_what_makes_no_sense_runs_nothing(cli: Cli, file: Path, tmp_path: Path) -> None:
    file.write_text(PIPELINE.replace("write/number", "wriet/number"))
    done = cli("pipeline", "run", str(file))
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr == (
        "inferry: step 'double': input 'numbers': there is no step 'wriet'; did you mean 'write'?\n"
    )
    assert cli("pipeline", "run", str(file), "--set", "no").code == 1
    assert cli("pipeline", "run", str(tmp_path)).code == 2
    assert json.loads(cli("pipeline", "list", "-o", "json").stdout) == []
    assert json.loads(cli("run", "list", "-o", "json").stdout) == []


def test_python_runs_one_and_hears_of_it(cli: Cli, file: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    write = ScriptStep("write", RunConfig("write.py", arguments=("${n}",)), folder="code")
    pipeline = Pipeline("py", [write], parameters={"n": "7"})
    view = pipeline.run(tmp_path / ".inferry", on_event=events.append)
    assert view.step("write").state == "finished"
    assert [event.what for event in events] == ["started", "line", "finished"]
    (tmp_path / "code" / "write.py").write_text("import sys; sys.exit('no ' + sys.argv[1])")
    with pytest.raises(PipelineFailedError, match="step 'write' failed") as caught:
        pipeline.run(tmp_path / ".inferry", parameters={"n": "8"})
    assert "no 8" in caught.value.log


# Processes that end before their time.


@pytest.fixture
def waiting(cli: Cli, tmp_path: Path) -> Path:
    """Of a pipeline whose second step waits until there is a file ``go``."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "write.py").write_text(WRITE)
    (code / "wait.py").write_text(WAITING.format(place=str(tmp_path)))
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "name: p\nsteps:\n"
        "  write: {script: write.py, arguments: [1], folder: code}\n"
        "  wait: {script: wait.py, folder: code, inputs: {x: write}}\n"
        "  more: {script: write.py, arguments: [2], folder: code, needs: [wait]}\n"
    )
    return path


@contextmanager
def started(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``inferry pipeline run`` in a process of its own, which has begun the step that waits."""
    process = subprocess.Popen(
        [str(BIN / "inferry"), "pipeline", "run", str(file)],
        cwd=file.parent,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        eventually(lambda: begun(file, 1)() or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def begun(file: Path, times: int) -> Callable[[], bool]:
    path = file.parent / "begun"
    return lambda: path.exists() and len(path.read_text()) >= times


def view_of(file: Path) -> PipelineView:
    return pipeline_view(Workspace.open(file.parent / ".inferry"), "p:1")


@pytest.mark.slow
def test_a_killed_process_is_resumed_without_what_was_done(cli: Cli, waiting: Path) -> None:
    with started(waiting) as process:
        process.kill()
        process.wait(timeout=60)
    view = view_of(waiting)
    assert (view.status, view.step("write").state) == ("failed", "finished")
    (waiting.parent / "go").touch()
    done = cli("pipeline", "resume", "p:1")
    assert done.code == 0, done.stderr
    after = view_of(waiting)
    assert after.step("write") == view.step("write")
    assert [step.state for step in after.steps] == ["finished"] * 3
    assert (after.step("wait").tries, after.step("more").tries) == (2, 1)
    assert begun(waiting, 2)()


@pytest.mark.slow
def test_sigterm_ends_the_script_too_and_a_second_runner_is_refused(
    cli: Cli, waiting: Path
) -> None:
    with started(waiting) as process:
        refused = cli("pipeline", "resume", "p:1")
        assert (refused.code, "run by another process" in refused.stderr) == (1, True)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, b"Traceback" in err) == (1, False)
    view = view_of(waiting)
    assert (view.status, view.cause) == ("killed", "cancelled on request")
    assert [step.state for step in view.steps] == ["finished", "cancelled", "skipped"]


@pytest.mark.slow
def test_a_detached_run_goes_on_and_can_be_cancelled(cli: Cli, waiting: Path) -> None:
    done = cli("pipeline", "run", str(waiting), "--detach")
    assert (done.code, done.stdout.startswith("p:1 goes on")) == (0, True)
    eventually(begun(waiting, 1))
    assert view_of(waiting).step("wait").state == "running"
    assert cli("pipeline", "cancel", "p:1").code == 0
    view = eventually(lambda: view_of(waiting) if view_of(waiting).ended_ms else None)
    assert (view.status, view.step("wait").state) == ("killed", "cancelled")
    log = cli("run", "log", "p:1").stdout
    assert "write finished" in log
    assert "killed: cancelled on request" in log
    (waiting.parent / "go").touch()
    assert cli("pipeline", "resume", "p:1", "--detach").code == 0
    view = eventually(lambda: view_of(waiting) if view_of(waiting).status == "finished" else None)
    assert view.count("finished") == 3
