"""Runs over MLflow's REST: what they are, and what a search finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from registry.tracking import Tracking
from tests.runtime.mlflow_service.conftest import Client, RefusedError

NOBODY = "0" * 32


def _run(client: Client, run: str) -> Any:
    return client.get("runs/get", run_id=run)["run"]


def _tags(run: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_a_run_is_what_its_client_says(client: Client) -> None:
    made = client.post(
        "runs/create",
        experiment_id="0",
        user_id="ada",
        run_name="first",
        start_time="1700000000000",
        tags=[
            {"key": "mlflow.source.name", "value": "train.py"},
            {"key": "mlflow.source.git.commit", "value": "c0ffee"},
            {"key": "mine", "value": ""},
        ],
        unknown_field={"of": "a newer client"},
    )["run"]
    run = made["info"]["run_id"]
    assert made["info"] == {
        "run_id": run,
        "run_uuid": run,
        "experiment_id": "0",
        "run_name": "first",
        "user_id": "ada",
        "status": "RUNNING",
        "start_time": 1_700_000_000_000,
        "artifact_uri": f"mlflow-artifacts:/0/{run}/artifacts",
        "lifecycle_stage": "active",
    }
    record = client.workspace.tracking.runs.get(run)
    assert (record.name, record.user, record.source, record.revision) == (
        "first",
        "ada",
        "train.py",
        "c0ffee",
    )
    assert _tags(_run(client, run))["mine"] == ""


def test_a_run_without_a_name_gets_one(client: Client) -> None:
    info = client.post("runs/create", experiment_id="0")["run"]["info"]
    assert info["run_name"].startswith("run-")
    assert client.workspace.tracking.runs.get(info["run_id"]).name == info["run_name"]


def test_a_child_is_a_child_here_too(client: Client) -> None:
    parent = client.run()
    child = client.run("child", tags=[{"key": "mlflow.parentRunId", "value": parent}])
    stray = client.run("stray", tags=[{"key": "mlflow.parentRunId", "value": NOBODY}])
    runs = client.workspace.tracking.runs
    assert (runs.get(child).parent, runs.get(stray).parent) == (parent, None)


def test_a_run_of_inferrys_own_has_mlflows_tags(client: Client) -> None:
    tracking = Tracking.open(client.workspace.root)
    parent = tracking.runs.create("digits", name="p", user="ada", source="train.py")
    child = tracking.runs.create("digits", parent=parent.id)
    assert _tags(_run(client, parent.id)) == {
        "mlflow.runName": "p",
        "mlflow.user": "ada",
        "mlflow.source.name": "train.py",
    }
    assert _tags(_run(client, child.id)) == {
        "mlflow.runName": "digits:2",
        "mlflow.parentRunId": parent.id,
    }


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED", 3, "3"])
def test_a_run_ends_and_begins_again(client: Client, status: object) -> None:
    run = client.run()
    ended = client.post("runs/update", run_id=run, status=status, end_time="1900000000000")
    assert ended["run_info"]["end_time"] == 1_900_000_000_000
    assert ended["run_info"]["status"] in ("FINISHED", "FAILED", "KILLED")
    again = client.post("runs/update", run_uuid=run, status="RUNNING")["run_info"]
    assert again["status"] == "RUNNING"
    assert "end_time" not in again


def test_a_name_is_changed_in_one_way_or_the_other(client: Client) -> None:
    run = client.run()
    client.post("runs/update", run_id=run, run_name="second")
    assert _tags(_run(client, run))["mlflow.runName"] == "second"
    client.post("runs/set-tag", run_id=run, key="mlflow.runName", value="third")
    assert _run(client, run)["info"]["run_name"] == "third"


def test_a_deleted_run_takes_nothing_until_it_is_restored(client: Client) -> None:
    run = client.run()
    client.post("runs/delete", run_id=run)
    assert _run(client, run)["info"]["lifecycle_stage"] == "deleted"
    for path, body in (
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "p", "value": "1"}),
        ("runs/set-tag", {"key": "t", "value": "1"}),
        ("runs/log-batch", {"tags": [{"key": "t", "value": "1"}]}),
        ("runs/update", {"status": "FINISHED"}),
        ("runs/delete-tag", {"key": "mlflow.runName"}),
    ):
        with pytest.raises(RefusedError, match="is deleted") as refused:
            client.post(path, run_id=run, **body)
        assert refused.value.status == 400
    with pytest.raises(RefusedError, match="is deleted"):
        client.put(f"0/{run}/artifacts/a.txt", b"a")
    client.post("runs/restore", run_id=run)
    client.post("runs/set-tag", run_id=run, key="t", value="1")


@pytest.mark.parametrize(
    ("run", "status"),
    [(NOBODY, 404), ("Default:1", 400), ("abc", 404), ("0000", 404), ("", 400), ("../x", 400)],
)
def test_a_run_is_named_by_all_of_its_id(client: Client, run: str, status: int) -> None:
    client.run()
    asks: list[Callable[[], Any]] = [
        lambda: client.get("runs/get", run_id=run),
        lambda: client.post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1),
        lambda: client.post("runs/delete", run_id=run),
    ]
    for ask in asks:
        with pytest.raises(RefusedError) as refused:
            ask()
        assert refused.value.status == status


def test_a_search_has_filters_orders_views_and_pages(client: Client) -> None:
    other = client.post("experiments/create", name="other")["experiment_id"]
    for number in range(5):
        run = client.run(f"r{number}", other if number == 4 else "0", start_time=1000 + number)
        client.post("runs/log-metric", run_id=run, key="loss", value=number, timestamp=1)
    client.post("runs/delete", run_id=run)

    def names(**asked: Any) -> list[str]:
        found = client.post("runs/search", **({"experiment_ids": ["0"]} | asked))
        return [each["info"]["run_name"] for each in found["runs"]]

    assert names() == ["r3", "r2", "r1", "r0"]
    assert names(filter="metrics.loss > 1", order_by=["metrics.loss ASC"]) == ["r2", "r3"]
    assert names(experiment_ids=["0", other], run_view_type="DELETED_ONLY") == ["r4"]
    assert names(experiment_ids=[]) == []
    page = client.post("runs/search", experiment_ids=["0"], max_results="3")
    assert len(page["runs"]) == 3
    assert names(max_results=3, page_token=page["next_page_token"]) == ["r0"]
    for wrong in (
        {"filter": "loss >"},
        {"order_by": ["wrong.x"]},
        {"max_results": 50_001},
        {"page_token": "x"},
        {"experiment_ids": ["x"]},
        {"run_view_type": 7},
    ):
        with pytest.raises(RefusedError) as refused:
            names(**wrong)
        assert refused.value.code == "INVALID_PARAMETER_VALUE"


def test_a_run_says_what_it_was_trained_with(client: Client) -> None:
    run = client.run()
    dataset = {"name": "digits", "digest": "abc", "source_type": "local", "source": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "train"}]
    for _ in range(2):
        client.post("runs/log-inputs", run_id=run, datasets=[{"dataset": dataset, "tags": tags}])
    assert _run(client, run)["inputs"] == {"dataset_inputs": [{"tags": tags, "dataset": dataset}]}
    with pytest.raises(RefusedError) as refused:
        client.post("runs/log-inputs", run_id=run, datasets=[{"dataset": {"name": "x"}}])
    assert refused.value.code == "INVALID_PARAMETER_VALUE"


def test_a_client_before_3_says_which_models_a_run_logged(client: Client) -> None:
    run = client.run()
    for model in (
        {"name": "a"},
        {"name": "b", "flavors": {"é": 1}},
        {"name": "b", "flavors": {"é": 1}},
    ):
        client.post("runs/log-model", run_id=run, model_json=json.dumps(model))
    [tag] = [
        tag["value"]
        for tag in client.get("runs/get", run_id=run)["run"]["data"]["tags"]
        if tag["key"] == "mlflow.log-model.history"
    ]
    assert json.loads(tag) == [{"name": "a"}, {"name": "b", "flavors": {"é": 1}}]  # one sent twice
    client.post("runs/set-tag", run_id=run, key="mlflow.log-model.history", value="by hand")
    client.post("runs/log-model", run_id=run, model_json="{}")
    found = client.workspace.tracking.runs.get(run)
    assert found.tags["mlflow.log-model.history"] == "[{}]"


@pytest.mark.parametrize(
    "document",
    ["", "[]", "1", "{", "[" * 10_000, '{"a": "' + "x" * 8000 + '"}', '{"a": "\\ud800"}'],
)
def test_what_is_no_model_or_too_long_is_not_kept(client: Client, document: str) -> None:
    run = client.run()
    with pytest.raises(RefusedError) as refused:
        client.post("runs/log-model", run_id=run, model_json=document)
    assert refused.value.status == 400
    assert "mlflow.log-model.history" not in client.workspace.tracking.runs.get(run).tags


def test_a_deleted_run_takes_no_model(client: Client) -> None:
    run = client.run()
    client.post("runs/delete", run_id=run)
    with pytest.raises(RefusedError, match="deleted"):
        client.post("runs/log-model", run_id=run, model_json="{}")
