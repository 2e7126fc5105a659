"""Runs of a script that was submitted as one, and of scripts that were not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from registry.errors import NotFoundError, NoWorkspaceError
from registry.tracking import Tracking
from runtime.tracking import Run
from runtime.tracking.context import for_child
from runtime.tracking.offline import MAX_LINES, OfflineKeeper


@pytest.fixture
def submitted(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run that this process belongs to."""
    run = tracking.runs.create("digits", status="running")
    for name, value in for_child(run.id, str(tracking.root)).items():
        monkeypatch.setenv(name, value)
    return run.id


def test_a_submitted_script_is_its_run_and_does_not_end_it(
    tracking: Tracking, submitted: str
) -> None:
    run = Run.get_context()
    assert run.id == submitted
    assert Run.get_context() is run
    run.log("loss", 0.5)
    run.complete()
    found = tracking.runs.get(submitted)
    assert (found.status, found.metrics["loss"].value) == ("running", 0.5)
    assert len(tracking.runs.search().runs) == 1


def test_the_first_run_of_a_submitted_script_is_that_run_and_later_ones_are_children(
    tracking: Tracking, submitted: str
) -> None:
    for number in range(3):
        with Run("whatever", params={f"p{number}": number}) as run:
            run.log("n", number)
    assert tracking.runs.get(submitted).metrics["n"].value == 0.0
    assert [c.metrics["n"].value for c in tracking.runs.children(submitted)] == [1.0, 2.0]
    assert [c.status for c in tracking.runs.children(submitted)] == ["finished"] * 2


def test_the_context_is_the_submitted_run_also_after_a_run_of_its_own(
    tracking: Tracking, submitted: str
) -> None:
    with Run("whatever") as first:
        pass
    assert first.id == Run.get_context().id == submitted
    assert Run.get_context().experiment == "digits"
    with Run("whatever") as child:
        pass
    assert tracking.runs.get(child.id).parent == submitted


def test_outside_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.get_context()
    assert run.is_offline
    assert Run.get_context() is run
    with run:
        run.log("loss", 0.25, step=3)
        run.log_list("l", [1])
        run.log_param("p", 1)
        run.tag("t")
        run.remove_tags("t")
        run.add_properties({"q": "2"})
        run.upload_file("x", io.BytesIO(b"abc"))
        run.note("a line")
        with run.child("c") as child:
            child.log("x", 1)
        assert run.register_model("m", "x") is None
        assert run.get_metrics() == {"loss": 0.25, "l": [1]}
        assert (run.get_params(), run.get_tags()) == ({"p": "1"}, {})
        with pytest.raises(NotFoundError, match="offline"):
            run.download_file("x")
    said = capsys.readouterr()
    for line in (
        "[offline] loss = 0.25 (step 3)",
        "[offline] l (list) = [1]",
        "[offline] param p = 1",
        "[offline] file x (3 bytes)",
        "[offline] a line",
        "[offline/c] x = 1",
        "[offline] model m is not registered: x",
    ):
        assert line in said.out.splitlines()
    assert "[offline] finished after" in said.out
    assert said.err == ""
    assert not list(tmp_path.iterdir())


def test_where_it_must_be_a_submitted_run_it_raises() -> None:
    with pytest.raises(NotFoundError, match="not submitted"):
        Run.get_context(allow_offline=False)


def test_a_submitted_run_that_is_gone_is_a_mistake(tracking: Tracking, submitted: str) -> None:
    tracking.runs.update(submitted, status="finished")
    tracking.runs.remove(submitted)
    with pytest.raises(NotFoundError, match="there is no run"):
        Run.get_context()


def test_without_a_workspace_a_run_is_printed_and_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Run("digits", name="n", params={"p": 1}) as run:
        run.log("loss", 0.5)
        assert run.flush()
    said = capsys.readouterr()
    assert said.err == (
        "inferry: this run is printed, not kept: there is no workspace here; make one with:"
        " inferry init\n"
    )
    assert "[digits/n] param p = 1\n" in said.out
    assert "[digits/n] loss = 0.5\n" in said.out
    with pytest.raises(NoWorkspaceError):
        Run("digits", allow_offline=False)
    with pytest.raises(NoWorkspaceError):
        Run.get("digits:1")


def test_a_workspace_that_is_none_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run("digits", workspace=tmp_path):
        pass
    assert "is no workspace" in capsys.readouterr().err


def test_of_many_values_the_first_are_printed() -> None:
    out = io.StringIO()
    keeper = OfflineKeeper("e", "", 0, out)
    keeper.write([("a", float(n), None, 0) for n in range(MAX_LINES + 7)], [])
    lines = out.getvalue().splitlines()
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == "[e] ... and 7 more"


def test_a_closed_output_is_no_reason_to_fail() -> None:
    out = io.StringIO()
    out.close()
    OfflineKeeper("e", "", 0, out).note("x")


def test_what_an_offline_run_reads_back_has_the_shapes_of_a_workspace(tracking: Tracking) -> None:
    kept = Run("digits")
    for run in (offline := Run.get_context(), kept):
        for x in range(2):
            run.log("loss", x)
            run.log_list("list", [x])
            run.log_row("row", x=x)
        run.log("once", 1)
        run.log_image("image", plot=b"\x89PNG\r\n\x1a\n rest")
    assert offline.is_offline
    assert offline.get_metrics() == kept.get_metrics()
    assert offline.get_metrics()["row"] == {"x": [0, 1]}
