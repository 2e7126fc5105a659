"""``inferry experiment ...`` and ``inferry run ...``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.tracking import Tracking
from runtime.tracking import Run
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli

HOSTILE = "\x1b[31mred"


@pytest.fixture
def tracking(cli: Cli, tmp_path: Path) -> Tracking:
    """Of the workspace of ``cli``."""
    return Workspace.open(tmp_path / ".inferry").tracking


@pytest.fixture
def trained(tracking: Tracking, tmp_path: Path) -> str:
    """The run ``digits:1``, which made the model ``adder:1``."""
    (tmp_path / "outputs").mkdir()
    with Run("digits", name="first", params={"depth": 3}, tags={"stage": "test"}) as run:
        for step in range(100):
            run.log("loss", 1 / (step + 1), step=step)
        run.log("odd", math.nan)
        run.log_row("rows", a=1)
        run.log_row("rows", a=2)
        run.note("half way")
        adder(tmp_path / "outputs/model.onnx")
        run.register_model("adder", "outputs/model.onnx")
        with run.child("fold"):
            pass
    return run.id


def read(cli: Cli, *arguments: str) -> Any:
    done = cli(*arguments, "-o", "json")
    assert done.code == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda text: pytest.fail(text))


def test_experiments_are_listed_shown_deleted_and_restored(cli: Cli, trained: str) -> None:
    (found,) = read(cli, "experiment", "list")
    assert (found["name"], found["runs"]) == ("digits", 2)
    assert read(cli, "experiment", "show", "digits")["newest"] == [
        "digits:2  finished  fold",
        "digits:1  finished  first",
    ]
    assert cli("experiment", "delete", "digits").code == 0
    assert read(cli, "experiment", "list") == []
    assert read(cli, "run", "list") == []
    assert read(cli, "experiment", "list", "--deleted")[0]["name"] == "digits"
    assert cli("experiment", "restore", "digits").code == 0
    assert len(read(cli, "run", "list", "digits")) == 2
    assert cli("experiment", "show", "nothing").code == 1


def test_runs_are_listed_by_filter_order_and_page(cli: Cli, trained: str) -> None:
    assert [r["run"] for r in read(cli, "run", "list")] == ["digits:2", "digits:1"]
    found = read(cli, "run", "list", "-f", "metrics.loss < 0.1 and params.depth = '3'")
    assert [r["id"] for r in found] == [trained]
    assert [r["run"] for r in read(cli, "run", "list", "--order-by", "start_time ASC")] == [
        "digits:1",
        "digits:2",
    ]
    page = cli("run", "list", "--limit", "1")
    token = page.stderr.strip().removeprefix("There are more: --page ")
    assert [r["run"] for r in read(cli, "run", "list", "--limit", "1", "--page", token)] == [
        "digits:1"
    ]
    table = cli("run", "list").stdout
    assert "loss=0.01" in table
    assert "stage=test" in table
    for wrong in (("-f", "x"), ("--order-by", "x"), ("--page", "x"), ("nothing",)):
        done = cli("run", "list", *wrong)
        assert (done.code, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1


def test_a_run_is_shown_with_all_that_came_from_it(cli: Cli, trained: str) -> None:
    shown = read(cli, "run", "show", "digits:1")
    assert shown["id"] == trained
    assert shown["metrics"]["loss"] | {"at": ""} == {
        "count": 100,
        "last": 0.01,
        "step": 99,
        "at": "",
        "min": 0.01,
        "max": 1.0,
    }
    assert shown["metrics"]["odd"]["last"] == "NaN"
    assert shown["values"] == ["rows (row)"]
    assert shown["files"] == ["outputs/model.onnx"]
    assert shown["children"] == ["digits:2"]
    assert shown["used_by"] == ["model adder:1"]
    assert read(cli, "model", "show", "adder")["came_from"] == ["run digits:1"]
    packages = read(cli, "run", "show", trained[:8], "--environment")["environment"]["packages"]
    assert any(line.startswith("pytest==") for line in packages)
    text = cli("run", "show", "digits:1").stdout
    assert "loss = 0.01  (100 values, 0.01 to 1)" in text
    assert "model adder:1" in text


def test_metrics_and_values_are_printed(cli: Cli, trained: str) -> None:
    assert [m["metric"] for m in read(cli, "run", "metrics", "digits:1")] == ["loss", "odd"]
    history = read(cli, "run", "metrics", "digits:1", "loss")
    assert [p["step"] for p in history] == list(range(100))
    chart = read(cli, "run", "metrics", "digits:1", "loss", "--points", "10")
    assert (len(chart), sum(p["count"] for p in chart)) == (10, 100)
    assert json.loads(cli("run", "value", "digits:1", "rows").stdout) == {"a": [1, 2]}
    for wrong in (("metrics", "digits:1", "nothing"), ("value", "digits:1", "nothing")):
        assert cli("run", *wrong).code == 1


def test_log_files_and_download(cli: Cli, trained: str, tmp_path: Path) -> None:
    assert cli("run", "log", "digits:1").stdout.endswith(" half way\n")
    assert cli("run", "log", "digits:1", "--follow").stdout.endswith(" half way\n")
    (file,) = read(cli, "run", "files", "digits:1")
    assert file["path"] == "outputs/model.onnx"
    assert read(cli, "run", "files", "digits:1", "nothing") == []
    assert cli("run", "download", "digits:1", "out").stdout == "Wrote 1 files to out\n"
    written = (tmp_path / "out/outputs/model.onnx").read_bytes()
    assert written == (tmp_path / "outputs/model.onnx").read_bytes()
    again = cli("run", "download", "digits:1", "out", "--path", "outputs")
    assert (again.code, "--force" in again.stderr) == (1, True)
    assert cli("run", "download", "digits:1", "out", "--force").code == 0
    assert cli("run", "download", "digits:1", "out", "--path", "../x").code == 1
    assert cli("run", "download", "digits:2", "out").code == 1


def test_tags_and_properties(cli: Cli, trained: str) -> None:
    assert cli("run", "tag", "digits:1", "a=1", "--remove", "stage").stdout == "Tagged digits:1\n"
    assert cli("run", "tag", "digits:1", "--property", "p=1").code == 0
    assert cli("run", "tag", "digits:1", "--property", "p=2").code == 1
    assert cli("run", "tag", "digits:1").code == 2
    shown = read(cli, "run", "show", "digits:1")
    assert (shown["tags"], shown["properties"]) == ({"a": "1"}, {"p": "1"})


def test_delete_hides_and_forever_refuses_what_is_used(cli: Cli, trained: str) -> None:
    refused = cli("run", "delete", "digits:1", "--forever")
    assert (refused.code, refused.stderr) == (
        1,
        "inferry: run digits:1 is used by model adder:1; delete what uses it first\n",
    )
    assert cli("run", "delete", "digits:1").code == 0
    assert [r["run"] for r in read(cli, "run", "list", "--deleted")] == ["digits:1"]
    assert cli("run", "restore", "digits:1").code == 0
    assert cli("model", "delete", "adder:1").code == 0
    assert cli("run", "delete", "digits:2", "--forever").code == 0
    assert cli("run", "delete", "digits:1", "--forever").code == 0
    assert read(cli, "run", "list") == []


def test_cancel_asks_for_an_end(cli: Cli, tracking: Tracking) -> None:
    run = tracking.runs.create("digits")
    assert cli("run", "cancel", "digits:1").code == 0
    assert tracking.runs.is_cancelled(run.id)
    tracking.runs.update(run.id, status="killed")
    assert "has ended already" in cli("run", "cancel", "digits:1").stderr


def test_what_a_run_says_cannot_act_on_the_terminal(cli: Cli, tracking: Tracking) -> None:
    run = tracking.runs.create("digits", params={"p": HOSTILE}, tags={"t": f"a\n{HOSTILE}"})
    tracking.lives.log(run.id).parent.mkdir(exist_ok=True)
    tracking.lives.log(run.id).write_text(f"{HOSTILE}\n")
    for arguments in (("list",), ("show", "digits:1"), ("log", "digits:1")):
        done = cli("run", *arguments)
        assert done.code == 0
        assert "\x1b" not in done.stdout


def test_a_time_that_no_calendar_has_is_shown(cli: Cli, tracking: Tracking) -> None:
    run = tracking.runs.create("digits", started_ms=2**62)
    tracking.runs.log(run.id, points=[("a", 1.0, -(2**63), 2**63 - 1)])
    for arguments in (("list",), ("show", "digits:1"), ("metrics", "digits:1", "a")):
        assert cli("run", *arguments).code == 0
