"""The calls of Azure Machine Learning v1, as old scripts make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import InvalidNameError, NotFoundError
from registry.tracking import Tracking
from runtime.tracking import Run as PlainRun
from runtime.tracking.azure import Model, Run, _OfflineRun
from runtime.tracking.context import for_child

MATRIX = {
    "schema_type": "confusion_matrix",
    "schema_version": "v1",
    "data": {"class_labels": ["a", "b"], "matrix": [[3, 1], [0, 4]]},
}


@pytest.fixture
def submitted(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> str:
    run = tracking.runs.create("digits", status="running", name="first")
    for name, value in for_child(run.id, str(tracking.root)).items():
        monkeypatch.setenv(name, value)
    return run.id


def test_metrics_may_have_descriptions_which_are_not_kept(
    tracking: Tracking, submitted: str
) -> None:
    run = Run.get_context()
    run.log("a", 1, "of the first kind")
    run.log("a", 2, description="x", step=7)
    run.log("b", 1, "said", 4)
    run.log("kind", "forest")
    run.log_list("list", [1, 2], description="x")
    run.log_row("row", "x", y=0.4)
    run.log_row("row", description="x", y=0.5)
    run.log_table("table", {"y": [1]}, "x")
    run.log_image("image", plot=b"\x89PNG\r\n\x1a\n rest", description="x")
    run.log_confusion_matrix("matrix", MATRIX, "x")
    assert run.flush(timeout_seconds=60)
    assert {p.step for key in "ab" for p in tracking.metrics.history(submitted, key)} == {0, 7, 4}
    known = run.get_metrics()
    assert (known["a"], known["kind"], known["list"]) == ([1, 2], ["forest"], [1, 2])
    assert known["row"] == {"y": [0.4, 0.5]}
    assert run.get_metrics("list") == {"list": [1, 2]}
    assert set(run.get_metrics("nothing")) == set()


def test_a_run_says_who_it_is_in_azures_words(submitted: str) -> None:
    run = Run.get_context(True, used_for_context_manager=False)
    assert isinstance(run, Run)
    assert (run.id, run.experiment.name, run.number) == (submitted, "digits", 1)
    assert (run.status, run.get_status(), run.parent) == ("Running", "Running", None)
    assert (run.name, run.display_name) == ("first", "first")
    details = run.get_details()
    assert (details["runId"], details["status"]) == (submitted, "Running")
    assert details["startTimeUtc"].startswith("20")


def test_both_classes_are_one_run(submitted: str) -> None:
    plain = PlainRun.get_context()
    plain.log("a", 1)
    run = Run.get_context()
    assert isinstance(run, Run)
    run.log("a", 2, "x")
    assert plain.get_metrics() == {"a": [1, 2]} == run.get_metrics()


def test_children_are_made_and_listed(tracking: Tracking, submitted: str) -> None:
    run = Run.get_context()
    with run.child_run("one") as child:
        child.log("n", 1, "x")
        with child.child_run(name="deep") as deep:
            assert deep.parent is child
    made = [*run.create_children(count=2), *run.create_children(tag_key="k", tag_values=["x", 3])]
    for each in made:
        each.complete()
    assert len(list(run.get_children())) == 5
    assert len(list(run.get_children(recursive=True))) == 6
    assert [each.get_tags() for each in run.get_children(tags={"k": "3"})] == [{"k": "3"}]
    assert len(list(run.get_children(tags="k"))) == 2
    assert len(list(run.get_children(status="Completed"))) == 5
    assert not list(run.get_children(status="Failed"))
    assert run.get_metrics(recursive=True)[child.id] == {"n": 1}
    assert len(tracking.runs.children(submitted)) == 5
    with pytest.raises(InvalidNameError, match="count"):
        run.create_children()


def test_a_child_knows_its_parent_also_in_another_process(
    tracking: Tracking, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tracking.runs.create("digits", status="running", parent=submitted)
    monkeypatch.setenv("INFERRY_RUN", child.id)
    parent = Run.get_context().parent
    assert parent is not None
    parent.log("from_below", 1, "x")
    parent.flush()
    assert "from_below" in tracking.runs.get(submitted).metrics


def test_files_and_models(tracking: Tracking, submitted: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/a.txt").write_text("abc")
    run = Run.get_context()
    run.upload_file("outputs/a.txt", path_or_stream=str(tmp_path / "here/a.txt"))
    run.upload_files(["b.txt"], [tmp_path / "here/a.txt"])
    run.upload_folder("more", "here")
    assert run.get_file_names() == ["b.txt", "more/a.txt", "outputs/a.txt"]
    run.download_file("outputs/a.txt")
    run.download_file("outputs/a.txt", output_file_path="deep/other.txt")
    run.download_file("outputs/a.txt", "here/")
    run.download_files(prefix="more", output_directory="down")
    written = ("a.txt", "deep/other.txt", "here/a.txt", "down/more/a.txt")
    assert [(tmp_path / path).read_text() for path in written] == ["abc"] * 4
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["other.txt"]
    model = run.register_model(
        model_name="net", model_path="outputs/a.txt", model_framework="ScikitLearn"
    )
    assert isinstance(model, Model)
    assert (model.name, model.id, model.version) == ("net", "net:1", 1)
    assert model.properties["framework"] == "ScikitLearn"
    assert not hasattr(model, "serialize")


def test_tags_come_and_go(submitted: str) -> None:
    run = Run.get_context()
    run.tag("only")
    run.set_tags({"a": 1, "b": 2, "c": 3})
    run.remove_tags(["a", "b"])
    assert run.get_tags() == {"only": "", "c": "3"}


def test_a_run_fails_with_what_it_says(tracking: Tracking) -> None:
    run = Run("other")
    run.fail(error_details=ValueError("bad\ndata"), error_code="E1")
    found = tracking.runs.get(run.id)
    assert (found.status, found.cause, run.status) == ("failed", "E1: bad data", "Failed")


def test_an_offline_run_is_known_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.get_context()
    assert isinstance(run, _OfflineRun)
    assert Run.get_context() is run
    assert run.id.startswith("OfflineRun")
    run.log("a", 1, "x")
    with run.child_run("below") as child:
        assert isinstance(child, _OfflineRun)
    assert run.parent is None
    run.complete()
    assert "a = 1" in capsys.readouterr().out
    with pytest.raises(NotFoundError):
        Run.get_context(allow_offline=False)
