"""A run as a training script sees it, in this process."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.errors import (
    ImmutableError,
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
    TargetExistsError,
)
from registry.tracking import Tracking
from runtime.tracking import Run
from tests.registry.onnx_files import adder
from tests.registry.tracking.test_words import HOSTILE_PATHS

PNG = b"\x89PNG\r\n\x1a\nrest"


def test_a_run_says_how_it_went(tracking: Tracking) -> None:
    with Run("digits", name="first", params={"depth": 3}, tags={"a": 1}) as run:
        for step in range(10):
            run.log("loss", 1 / (step + 1), step=step)
        run.log_metrics({"accuracy": 0.5, "nan": math.nan})
        assert tracking.runs.get("digits:1").status == "running"
    found = tracking.runs.get("digits:1")
    assert (found.status, found.cause, found.name) == ("finished", None, "first")
    assert (found.params, found.tags) == ({"depth": "3"}, {"a": "1"})
    assert found.metrics["loss"].value == 0.1
    assert found.ended_ms is not None
    assert found.ended_ms >= found.started_ms
    assert found.user
    assert found.source
    assert found.environment is not None
    environment = json.loads(tracking.runs.environment(found.environment) or "")
    assert "pytest" in {line.split("==")[0] for line in environment["packages"]}


def test_an_exception_is_how_it_ended_and_goes_on(tracking: Tracking) -> None:
    with pytest.raises(ZeroDivisionError), Run("digits"):
        _ = 1 / 0
    found = tracking.runs.get("digits:1")
    assert (found.status, found.cause) == ("failed", "ZeroDivisionError: division by zero")
    assert b"Traceback" in tracking.log(found.id)


@pytest.mark.parametrize(
    ("raised", "status"),
    [(KeyboardInterrupt(), "killed"), (SystemExit(0), "finished"), (SystemExit(2), "failed")],
)
def test_other_ends(tracking: Tracking, raised: BaseException, status: str) -> None:
    with pytest.raises(type(raised)), Run("digits"):
        raise raised
    assert tracking.runs.get("digits:1").status == status


def test_all_kinds_of_values_come_back(tracking: Tracking, tmp_path: Path) -> None:
    class Figure:
        def savefig(self, file: io.BytesIO, format: str) -> None:
            file.write(PNG)

    (tmp_path / "a.png").write_bytes(PNG)
    matrix = {"data": {"class_labels": ["a"], "matrix": [[1]]}}
    with Run("digits") as run:
        run.log("once", 1)
        run.log_list("list", [1, 2])
        run.log_list("list", [3])
        run.log_row("rows", a=1, b=2)
        run.log_row("rows", a=3, c=4)
        run.log_table("table", {"x": [1, 2]})
        run.log_image("from file", path=tmp_path / "a.png")
        run.log_image("plot/1", plot=Figure())
        run.log_image("plot/1", plot=PNG)
        run.log_confusion_matrix("matrix", matrix)
        run.log("many", 1.0)
        run.log("many", 2.0)
        found = run.get_metrics()
    assert found == {
        "once": 1.0,
        "many": [1.0, 2.0],
        "list": [1, 2, 3],
        "rows": {"a": [1, 3], "b": [2, None], "c": [None, 4]},
        "table": {"x": [1, 2]},
        "from file": "images/from-file.png",
        "plot/1": ["images/plot-1.png", "images/plot-1-1.png"],
        "matrix": {"schema_type": "confusion_matrix", "schema_version": "v1", **matrix},
    }
    assert tracking.files.read(run.id, "images/plot-1.png") == PNG


def test_mistakes_in_a_call_raise_and_keep_nothing(tracking: Tracking) -> None:
    with Run("digits", params={"p": 1}) as run:
        wrong: list[tuple[type[Exception], Any]] = [
            (InvalidNameError, lambda: run.log("a\n", 1)),
            (InvalidNameError, lambda: run.log("", 1)),
            (InvalidNameError, lambda: run.log("a", "text")),
            (InvalidNameError, lambda: run.log("a", 1, step="x")),  # type: ignore[arg-type]
            (InvalidNameError, lambda: run.log("a", 1, step=2**63)),
            (InvalidNameError, lambda: run.log_image("a")),
            (InvalidNameError, lambda: run.log_image("a", plot=b"GIMP")),
            (InvalidNameError, lambda: run.log_image("a", plot=object())),
            (InvalidSourceError, lambda: run.log_image("a", path="nothing.png")),
            (InvalidNameError, lambda: run.tag("a" * 251)),
            (InvalidNameError, lambda: run.log_params(["a"])),  # type: ignore[arg-type]
            (ImmutableError, lambda: run.log_param("p", 2)),
            (InvalidSourceError, lambda: run.upload_file("x", "nothing")),
            (InvalidSourceError, lambda: run.upload_file("x", ".")),
            (InvalidSourceError, lambda: run.upload_folder("x", "nothing")),
            (NotFoundError, lambda: run.download_file("nothing")),
            (InvalidNameError, lambda: run.child("\x1b")),
        ]
        for error, call in wrong:
            with pytest.raises(error) as caught:
                call()
            assert str(caught.value).isprintable()
    found = tracking.runs.get("digits:1")
    assert (found.status, found.metrics, found.tags) == ("finished", {}, {})
    assert tracking.files.list(run.id) == []


def test_one_name_is_of_one_kind(tracking: Tracking) -> None:
    with Run("digits") as run:
        run.log("a", 1)
        with pytest.raises(InvalidNameError, match="'a' is a metric already"):
            run.log_list("a", [1])
        run.log_list("b", [1])
        with pytest.raises(InvalidNameError, match="'b' is a list already"):
            run.log("b", 1)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 501])
def test_a_wrong_experiment_name_raises_before_anything_begins(
    tracking: Tracking, name: str
) -> None:
    with pytest.raises(InvalidNameError):
        Run(name)
    assert tracking.runs.search().runs == ()


def test_after_its_end_nothing_is_logged_and_a_second_end_does_nothing(tracking: Tracking) -> None:
    run = Run("digits")
    run.fail("no data")
    run.complete()
    with pytest.raises(ImmutableError, match="has ended"):
        run.log("a", 1)
    found = tracking.runs.get("digits:1")
    assert (found.status, found.cause) == ("failed", "no data")


def test_steps_may_be_of_numpy(tracking: Tracking) -> None:
    import numpy as np

    with Run("digits") as run:
        run.log("a", np.float32(0.5), step=np.int64(7))  # type: ignore[arg-type]
    assert tracking.metrics.history(run.id, "a")[0].step == 7


# Files.


def test_files_go_up_and_come_back(tracking: Tracking, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("x")
    with Run("digits") as run:
        run.upload_file("one/x.txt", tmp_path / "data" / "x.txt")
        run.upload_file("stream.bin", io.BytesIO(b"bytes"))
        run.upload_folder("two", tmp_path / "data")
        assert run.download_file("stream.bin", "out").read_bytes() == b"bytes"
        with pytest.raises(TargetExistsError):
            run.download_file("stream.bin", "out")
        run.download_files("", "all")
    assert sorted(str(p.relative_to("all")) for p in Path("all").rglob("*") if p.is_file()) == [
        "one/x.txt",
        "stream.bin",
        "two/x.txt",
    ]


def test_a_hostile_file_name_is_refused(tracking: Tracking, tmp_path: Path) -> None:
    with Run("digits") as run:
        for name in HOSTILE_PATHS:
            with pytest.raises(InvalidNameError):
                run.upload_file(name, io.BytesIO(b"x"))
            with pytest.raises(InvalidNameError):
                run.download_file(name, tmp_path / "out")
    assert tracking.files.list(run.id) == []


def test_new_outputs_are_kept_and_old_ones_are_not(
    tracking: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("outputs/sub").mkdir(parents=True)
    Path("outputs/old").write_text("old")
    Path("outputs/changes").write_text("before")
    run = Run("digits")
    with run:
        Path("outputs/sub/new").write_text("new")
        Path("outputs/changes").write_text("after!")
        Path("outputs/link").symlink_to("/etc/passwd")
        os.mkfifo("outputs/pipe")
        Path("outputs/bad.").write_text("x")
    kept = {f.path: tracking.files.read(run.id, f.path) for f in tracking.files.list(run.id)}
    assert kept == {"outputs/sub/new": b"new", "outputs/changes": b"after!"}
    said = capsys.readouterr().err
    for name in ("link", "pipe", "bad."):
        assert name in said


def test_outputs_lie_elsewhere_or_are_left_alone(tracking: Tracking) -> None:
    for folder in ("outputs", "elsewhere"):
        Path(folder).mkdir()
    with Run("digits", outputs="elsewhere"):
        Path("elsewhere/a").write_text("a")
        Path("outputs/b").write_text("b")
    with Run("digits", outputs=None):
        Path("outputs/c").write_text("c")
    first, second = (tracking.runs.get(f"digits:{n}").id for n in (1, 2))
    assert [f.path for f in tracking.files.list(first)] == ["outputs/a"]
    assert tracking.files.list(second) == []


# Models and children.


def test_a_model_says_which_run_made_it(tracking: Tracking, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / ".inferry")
    Path("outputs").mkdir()
    with Run("digits") as run:
        adder(Path("outputs/model.onnx"))
        made = run.register_model("adder", "outputs/model.onnx", tags={"stage": "test"})
        assert (made.reference, made.tags, made.entry) == (
            "adder:1",
            {"stage": "test"},
            "model.onnx",
        )
        run.upload_file("models/m.onnx", "outputs/model.onnx")
        Path("outputs/model.onnx").unlink()
        again = run.register_model("adder", "models/m.onnx")
        assert again.files[0].digest == made.files[0].digest
        with pytest.raises(NotFoundError):
            run.register_model("adder", "nothing")
    assert [str(link) for link in workspace.lineage.of_run("digits:1").used_by] == [
        "model adder:1",
        "model adder:2",
    ]


def test_children_are_runs_of_their_own(tracking: Tracking) -> None:
    with Run("digits") as run:
        for number in range(3):
            with run.child(f"fold {number}") as child:
                child.log("loss", number)
        with pytest.raises(ValueError, match="bad"), run.child("bad") as child:
            raise ValueError("bad")
        with run.child("deep") as child, child.child("deeper") as deeper:
            deeper.log("x", 1)
    children = tracking.runs.children("digits:1")
    assert [(c.name, c.status) for c in children] == [
        *((f"fold {n}", "finished") for n in range(3)),
        ("bad", "failed"),
        ("deep", "finished"),
    ]
    assert [c.name for c in tracking.runs.children(children[-1].id)] == ["deeper"]
    assert tracking.runs.get("digits:1").status == "finished"


# Other runs.


def test_an_earlier_run_is_looked_at_and_added_to(tracking: Tracking) -> None:
    with Run("digits", params={"depth": 3}) as run:
        run.log("loss", 0.5)
    earlier = Run.get("digits:1")
    assert earlier.get_metrics() == {"loss": 0.5}
    assert (earlier.get_params(), earlier.reference) == ({"depth": "3"}, "digits:1")
    earlier.tag("checked", "yes")
    earlier.log("test loss", 0.6)
    earlier.end("failed")
    assert tracking.runs.get("digits:1").status == "finished"
    assert tracking.runs.get("digits:1").metrics["test loss"].value == 0.6
    with pytest.raises(NotFoundError):
        Run.get("digits:2")


def test_runs_are_found(tracking: Tracking) -> None:
    for loss in (0.3, 0.1, 0.2):
        with Run("digits") as run:
            run.log("loss", loss)
    found = Run.search("digits", "metrics.loss < 0.25", order_by=["metrics.loss"])
    assert [r.metrics["loss"].value for r in found] == [0.1, 0.2]
    with pytest.raises(NotFoundError):
        Run.search("nothing")


def test_a_run_hears_that_its_end_is_asked_for(tracking: Tracking) -> None:
    run = Run("digits")
    heard = [run.is_cancelled]
    tracking.runs.cancel("digits:1")
    run._beat()
    assert [*heard, run.is_cancelled] == [False, True]
    run.cancel()
    assert tracking.runs.get("digits:1").status == "killed"


def test_a_workspace_is_named_by_argument_then_environment(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        Workspace.init(tmp_path / name, base="none")
    monkeypatch.setenv("INFERRY_WORKSPACE", str(tmp_path / "one"))
    for given in ("two", None):
        Run("digits", workspace=given).complete()
    for name in ("one", "two"):
        assert len(Tracking.open(tmp_path / name).runs.search().runs) == 1
    assert tracking.runs.search().runs == ()
