"""Scripts on this machine: all that a script says is kept, and all that it starts is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.errors import InvalidSourceError, NotFoundError, StoreFullError
from registry.tracking import RunRecord, Runs
from registry.tree import SourceFile
from runtime.errors import BadValueError
from runtime.submission import kept, make_config, rerun, submit
from tests.runtime.datastores.servers import wait_until
from tests.runtime.submission.conftest import Submit

SCRIPT = """
import os, sys, math
from runtime.tracking import Run
run = Run.get_context()
print("arguments", sys.argv[1:])
for step in range(3000):
    run.log("loss", 1 / (step + 1), step=step)
run.log("odd", math.nan)
run.log_param("depth", 3)
run.tag("colour", "blue"); run.tag("gone", "x"); run.remove_tags("gone")
run.add_properties({"fact": "1"})
run.log_list("list", [1, 2]); run.log_row("rows", a=1); run.log_table("table", {"a": [1, 2]})
run.log_image("picture", plot=b"\\x89PNG\\r\\n\\x1a\\n rest")
open("model.bin", "wb").write(b"123")
run.upload_file("models/model.bin", "model.bin")
open("outputs/result.txt", "w").write("made")
with run.child("kid") as kid:
    kid.log("x", 1)
    kid.child("grandkid").log("y", 2)
model = run.register_model("thing", "model.bin", tags={"a": "b"})
print("model", model.name, model.version)
run.note("a line of its own")
assert run.get_metrics()["odd"] != run.get_metrics()["odd"] and not run.is_offline
assert run.get_params() == {"depth": "3"}, run.get_params()
print("input", open(os.path.join(os.environ["INFERRY_INPUT_MY_DATA"], "d.txt")).read())
print("relative", open("inputs/my-data/d.txt").read(), os.environ["WORD"])
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def test_all_that_a_script_says_is_kept(
    workspace: Workspace, run_script: Submit, lines: list[str], tmp_path: Path
) -> None:
    (tmp_path / "d.txt").write_text("DATA")
    hostile = ["a b", "$(touch x)", "`id`", "it's", '"', "--", "-c", "*", "\n", "é", ""]
    run = run_script(
        SCRIPT,
        {"arguments": hostile, "environment": {"WORD": "$HOME; 'x'\nnext"}},
        inputs={"my-data": {"d.txt": SourceFile("d.txt", tmp_path, 4)}},
        name="first",
        tags={"given": "yes"},
    )
    assert (run.status, run.cause, run.name) == ("finished", None, "first")
    assert lines[0] == f"arguments {hostile!r}"
    assert lines[1:5] == ["model thing 1", "input DATA", "relative DATA $HOME; 'x'", "next"]
    assert run.metrics["loss"].count == 3000
    assert run.metrics["odd"].value != run.metrics["odd"].value
    assert run.params == {"depth": "3"}
    assert run.tags == {"colour": "blue", "given": "yes"}
    assert run.properties == {"fact": "1", "inferry.target": "local"}
    assert run.source == "train.py"
    assert run.environment is not None
    kinds = {value.key: value.kind for value in workspace.tracking.metrics.values(run.id)}
    assert kinds == {"list": "list", "rows": "row", "table": "table", "picture": "image"}
    files = {file.path: file.size_bytes for file in workspace.tracking.files.list(run.id)}
    assert files["models/model.bin"] == 3
    assert files["outputs/result.txt"] == 4
    assert len(files) == 3
    kid, grandkid = workspace.tracking.runs.children(run.id, recursive=True)
    assert (kid.name, kid.status, kid.metrics["x"].value) == ("kid", "finished", 1)
    assert (grandkid.parent, grandkid.metrics["y"].value) == (kid.id, 2)
    assert grandkid.status in ("finished", "failed")
    assert "a line of its own" in workspace.tracking.log(run.id).decode()
    model = workspace.models.get("thing:1")
    assert model.tags == {"a": "b"}
    assert str(run.reference) in str(workspace.lineage.of_run(run.id).used_by) or model
    assert not list((workspace.root / "runs").glob("*.work"))
    assert not list((workspace.root / "runs").glob("*.lock"))


def test_a_script_that_fails_says_why(run_script: Submit, workspace: Workspace) -> None:
    run = run_script("print('one')\nprint('two')\nraise SystemExit(3)")
    assert (run.status, run.cause) == ("failed", "exit code 3: one | two")
    run = run_script(
        "from runtime.tracking import Run\nwith Run('e') as run:\n    raise ValueError('bad data')"
    )
    assert (run.status, run.cause) == ("failed", "ValueError: bad data (exit code 1)")
    assert "Traceback" in workspace.tracking.log(run.id).decode()
    run = run_script("import os\nos.kill(os.getpid(), 9)")
    assert (run.status, run.cause) == ("failed", "signal SIGKILL: out of memory?")


def test_a_script_that_ends_well_may_say_that_it_failed(run_script: Submit) -> None:
    text = "from runtime.tracking import Run\nRun.get_context().fail('no convergence')"
    run = run_script(text)
    assert (run.status, run.cause) == ("failed", "no convergence")


def test_outputs_are_kept_of_a_script_that_failed_but_no_links(
    run_script: Submit, workspace: Workspace
) -> None:
    run = run_script(
        "import os\nos.makedirs('outputs/deep')\nopen('outputs/deep/a', 'w').write('x')\n"
        "os.symlink('/etc/passwd', 'outputs/link')\nos.symlink('/etc', 'outputs/folder')\n"
        "os.mkfifo('outputs/pipe')\nopen(b'outputs/\\xff', 'w').write('x')\n"
        "open('outputs/a\\nb', 'w').write('x')\nraise SystemExit(1)"
    )
    assert run.status == "failed"
    files = [file.path for file in workspace.tracking.files.list(run.id)]
    assert files == ["outputs/deep/a"]
    log = workspace.tracking.log(run.id).decode()
    assert log.count("left out of the run") == 5


def test_what_the_journal_says_is_checked(run_script: Submit, workspace: Workspace) -> None:
    bad: list[object] = [
        "no object",
        {"kind": "points"},
        {"run": "RUN", "kind": "points", "points": [["a", 1, 0]]},
        {"run": "RUN", "kind": "points", "points": [["", 1, 0, 0]]},
        {"run": "0" * 32, "kind": "points", "points": [["a", 1, 0, 0]]},
        {"run": "RUN", "kind": "files", "files": {"x": ["../../../../etc/passwd", 1]}},
        {"run": "RUN", "kind": "files", "files": {"../x": ["ab", 1]}},
        {"run": "RUN", "kind": "files", "files": {"x": ["ab", 1]}},
        {"run": "RUN", "kind": "begin", "parent": "0" * 32},
        {"run": "RUN", "kind": "end", "status": "running", "cause": None, "ended_ms": 1},
        {"run": "RUN", "kind": "unknown"},
        {"run": "RUN", "kind": "value", "value": ["a", "list", 1, "no json"]},
    ]
    run = run_script(
        "import os, json\nfrom runtime.tracking import Run\n"
        "journal = open(os.path.join(os.environ['INFERRY_JOURNAL'], 'journal'), 'a')\n"
        f"text = json.dumps({bad!r}).replace('RUN', os.environ['INFERRY_RUN'])\n"
        "for record in json.loads(text): journal.write(json.dumps(record) + '\\n')\n"
        "journal.write('{' * 50000 + '\\n'); journal.close()\n"
        "Run.get_context().log('good', 1)\n"
    )
    assert run.status == "finished"
    assert dict(run.metrics).keys() == {"good"}
    assert not workspace.tracking.files.list(run.id)
    log = workspace.tracking.log(run.id).decode()
    assert log.count("left out") == len(bad) + 1
    assert "root:" not in log


def test_a_run_that_takes_too_long_is_ended(run_script: Submit) -> None:
    run = run_script("import time\ntime.sleep(600)", {"max_duration_s": 0.3})
    assert (run.status, run.cause) == ("failed", "it took longer than 0.3 s")


TREE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = [sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"]
ones = [subprocess.Popen(child), subprocess.Popen(child, start_new_session=True)]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("pid", os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
print("pid", os.getpid(), *(one.pid for one in ones), flush=True)
time.sleep(600)
"""


def pids(lines: list[str]) -> list[int]:
    return [int(word) for line in lines for word in line.split() if word.isdigit()]


def test_cancel_ends_the_script_and_all_that_it_has_started(
    run_script: Submit, workspace: Workspace, lines: list[str]
) -> None:
    begun: list[RunRecord] = []

    def cancel() -> None:
        wait_until(lambda: len(pids(lines)) == 4, "the script began")
        workspace.tracking.runs.cancel(begun[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    run = run_script(TREE, {"grace_s": 0.2}, on_begin=begun.append)
    thread.join()
    assert (run.status, run.cause) == ("killed", "cancelled")
    assert not [pid for pid in pids(lines) if alive(pid)]


def test_a_run_that_is_cancelled_before_its_script_began_begins_none(
    run_script: Submit, workspace: Workspace, lines: list[str]
) -> None:
    run = run_script("print(1)", on_begin=lambda run: workspace.tracking.runs.cancel(run.id))
    assert (run.status, run.cause, lines) == ("killed", "cancelled", [])


def test_what_a_script_leaves_behind_ends_with_it(run_script: Submit, lines: list[str]) -> None:
    run = run_script(
        "import subprocess, sys\nchild = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "print(subprocess.Popen(child, start_new_session=True).pid)"
    )
    assert run.status == "finished"
    assert not alive(pids(lines)[0])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_its_submitter(
    workspace: Workspace, folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (folder / "train.py").write_text(TREE)
    log = tmp_path / "log"
    with log.open("wb") as file:
        submitter = subprocess.Popen(
            [
                *(sys.executable, "-m", "runtime.cli.main", "run", "submit", "train.py"),
                *("--experiment", "e", "--workspace", str(workspace.root)),
            ],
            cwd=folder,
            stdout=file,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
            start_new_session=True,
        )
    try:
        wait_until(lambda: len(pids(log.read_text().splitlines())) == 4, "the script began", 60)
        submitter.send_signal(number)
        submitter.wait(60)
    finally:
        submitter.kill()
        submitter.wait()
    found = pids(log.read_text().splitlines())
    wait_until(lambda: not any(alive(pid) for pid in found), "they have ended", 60)
    run = workspace.tracking.runs.get("e:1")
    if number == signal.SIGKILL:
        assert (run.status, run.cause) == ("failed", "its process ended without a word")
    else:
        assert (run.status, run.cause) == ("killed", "cancelled")
    wait_until(lambda: not list((workspace.root / "runs").glob("*.work")), "the folder is gone", 60)


def test_a_supervisor_that_is_killed_takes_the_script_with_it_and_is_said(
    run_script: Submit, lines: list[str]
) -> None:
    run = run_script(
        "import os, time\nprint(os.getpid(), flush=True)\nos.kill(os.getppid(), 9)\ntime.sleep(600)"
    )
    assert run.status == "failed"
    assert "was ended on the target" in str(run.cause)
    wait_until(lambda: not alive(pids(lines)[0]), "the script has ended")


def test_a_rerun_has_the_same_files_inputs_and_configuration(
    workspace: Workspace, folder: Path, run_script: Submit, tmp_path: Path
) -> None:
    (tmp_path / "d.txt").write_text("DATA")
    (folder / "other.py").write_text("X = 5")
    first = run_script(
        "import sys\nfrom other import X\nfrom runtime.tracking import Run\n"
        "Run.get_context().log('x', X + len(open('inputs/in/d.txt').read()) + len(sys.argv))",
        {"arguments": ["a"]},
        inputs={"in": {"d.txt": SourceFile("d.txt", tmp_path, 4)}},
    )
    (folder / "other.py").write_text("X = 99")
    (tmp_path / "d.txt").unlink()
    second = rerun(workspace, first.reference, name="again")
    assert second.metrics["x"].value == first.metrics["x"].value == 11
    assert second.properties["inferry.rerun_of"] == first.id
    of = workspace.tracking.snapshots.of_run
    assert of(first.id).snapshot == of(second.id).snapshot
    with pytest.raises(NotFoundError, match="was not submitted"):
        rerun(workspace, workspace.tracking.runs.create("e").id)


def test_what_cannot_be_submitted_leaves_no_run(workspace: Workspace, folder: Path) -> None:
    (folder / "train.py").write_text("")

    def refused(said: str, error: type[Exception] = BadValueError, **config: object) -> None:
        wanted = make_config({"script": "train.py", **config})
        with pytest.raises(error, match=said):
            submit(workspace, wanted, folder, experiment="e")

    refused("there is no target", NotFoundError, target="gpu")
    refused(r"did you mean train.py", script="tran.py")
    refused("requirements", python={"requirements": "requirements.txt"})
    refused("is not set here", pass_environment=["SURELY_NOT_SET"])
    workspace.targets.attach("line", "edge", {"condition": "true"})
    refused("runs deployments but no scripts", target="line")
    (folder / "pipe").symlink_to("train.py")
    refused("symbolic link", InvalidSourceError)
    assert not workspace.tracking.runs.search().runs


def test_a_variable_that_is_passed_is_not_kept(
    run_script: Submit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setenv("MY_TOKEN", "canary-7f3a")
    run = run_script(
        "import os\nprint(len(os.environ['MY_TOKEN']))", {"pass_environment": ["MY_TOKEN"]}
    )
    assert (run.status, lines) == ("finished", ["11"])
    for path in workspace.root.rglob("*"):
        assert not path.is_file() or b"canary-7f3a" not in path.read_bytes()


@pytest.mark.slow
def test_requirements_are_installed_once_for_the_same_text(
    run_script: Submit, folder: Path, lines: list[str], workspace: Workspace
) -> None:
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "WORD = 'tiny'")
        wheel.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    (folder / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    config: dict[str, object] = {"python": {"requirements": "requirements.txt"}}
    text = (
        "import tiny, sys\nfrom runtime.tracking import Run\nRun.get_context().log('a', 1)\n"
        "print(tiny.WORD, sys.prefix != sys.base_prefix)"
    )
    run = run_script(text, config)
    assert run.status == "finished", workspace.tracking.log(run.id)
    assert lines[-1] == "tiny True"
    assert run.metrics["a"].value == 1
    assert run_script(text, config).status == "finished"
    assert "inferry: Found the environment of requirements.txt" in lines
    (folder / "requirements.txt").write_text("./none-1.0-py3-none-any.whl\n")
    run = run_script(text, config)
    assert run.cause == "the requirements do not install (exit code 1)"


def test_an_interpreter_that_is_not_there_or_no_python_is_said(run_script: Submit) -> None:
    run = run_script("", {"python": {"interpreter": "python9.9"}})
    assert run.cause == "there is no Python interpreter 'python9.9' on the target"
    run = run_script("", {"python": {"interpreter": "/bin/true"}})
    assert "is no Python interpreter that runs" in str(run.cause)


def test_a_python_that_is_too_old_is_said(run_script: Submit, tmp_path: Path) -> None:
    old = tmp_path / "python3.6"
    old.write_text("#!/bin/sh\necho 3 6 0 0\n")
    old.chmod(0o755)
    run = run_script("", {"python": {"interpreter": str(old)}})
    assert "the target's Python is 3.6; a run needs 3.11 or newer" in str(run.cause)


def test_progress_bars_and_long_lines_are_lines(run_script: Submit, lines: list[str]) -> None:
    run_script(
        "import sys\nfor i in range(100): sys.stdout.write(f'\\r{i} %')\nprint()\n"
        "print('x' * 100000)\nsys.stdout.buffer.write(b'\\xff\\n')\nsys.stdout.write('no end')"
    )
    assert lines[0] == "99 %"
    assert len(lines[1]) <= 4096
    assert lines[2:] == ["\ufffd", "no end"]


def test_the_record_is_json_and_a_failure_is_exit_code_1(
    workspace: Workspace,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from runtime.cli.main import run as command

    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(
        "import sys\nprint('said', *sys.argv[1:])\nsys.exit(int(sys.argv[1]))"
    )
    (folder / "run.yaml").write_text("script: train.py\narguments: [7]\n")
    options = ["-e", "e", "-w", str(workspace.root)]
    assert command(["run", "submit", "train.py", *options, "-o", "json", "--", "0", "-x"]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert (record["status"], record["run"]) == ("finished", "e:1")
    assert "said 0 -x" in shown.err
    assert command(["run", "submit", "-c", "run.yaml", *options]) == 1
    shown = capsys.readouterr()
    assert shown.out == "said 7\n"
    assert "inferry: run e:2 failed: exit code 7: said 7" in shown.err
    assert command(["run", "rerun", "e:1", "-w", str(workspace.root)]) == 0
    assert "e:3 finished" in capsys.readouterr().err
    target = folder.parent / "s.zip"
    assert command(["run", "snapshot", "download", "e:1", str(target), *options[2:]]) == 0
    assert zipfile.ZipFile(target).namelist() == ["run.yaml", "train.py"]
    assert command(["run", "snapshot", "files", "e:1", *options[2:]]) == 0
    assert "train.py" in capsys.readouterr().out
    assert command(["run", "submit", "/etc/passwd", *options]) == 1
    assert "is not in the folder" in capsys.readouterr().err
    assert command(["run", "submit", *options]) == 2


def test_a_workspace_that_fills_up_meanwhile_is_the_cause_of_the_end(
    run_script: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreFullError("no space is left for the workspace; free some and try again")

    log = Runs.log
    monkeypatch.setattr(Runs, "log", full)
    began = time.monotonic()
    run = run_script(
        "import time\nfrom runtime.tracking import Run\nRun.get_context().log('a', 1)\n"
        "Run.get_context().flush()\ntime.sleep(600)",
        {"patience_s": 0.1},
    )
    assert (run.status, "no space" in str(run.cause)) == ("failed", True)
    assert time.monotonic() - began < 100
    calls: list[object] = []

    def full_at_first(*given: Any, **named: Any) -> None:
        calls.append(named)
        if len(calls) < 3:
            full()
        log(*given, **named)

    monkeypatch.setattr(Runs, "log", full_at_first)
    monkeypatch.setattr(kept, "RETRY_S", 0.01)
    run = run_script("from runtime.tracking import Run\nRun.get_context().log('a', 1)")
    assert (run.status, run.metrics["a"].count) == ("finished", 1)
