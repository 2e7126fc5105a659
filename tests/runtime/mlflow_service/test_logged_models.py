"""Logged models over MLflow's REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtime.mlflow_service.conftest import FILES, Client, RefusedError


def _logged(client: Client, run: str, name: str = "model", **more: Any) -> Any:
    made = client.post("logged-models", experiment_id="0", name=name, source_run_id=run, **more)
    return made["model"]["info"]


def test_a_logged_model_has_files_params_tags_and_metrics(client: Client) -> None:
    run = client.run()
    info = _logged(client, run, params=[{"key": "C", "value": "1"}], model_type="agent")
    id = info["model_id"]
    assert info["status"] == "LOGGED_MODEL_PENDING"
    root = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert root == f"0/models/{id}/artifacts"
    client.put(f"{root}/MLmodel", b"flavors: {}\n")
    client.put(f"{root}/data/w.bin", b"w")
    client.patch(f"logged-models/{id}", model_id="ignored", status="LOGGED_MODEL_READY")
    client.patch(f"logged-models/{id}/tags", tags=[{"key": "t", "value": "1"}])
    client.post(f"logged-models/{id}/params", params=[{"key": "D", "value": "2"}])
    client.post(
        "runs/log-batch",
        run_id=run,
        metrics=[
            {"key": "f1", "value": v, "timestamp": 1, "step": v, "model_id": id} for v in (2, 1)
        ],
    )
    client.post("runs/outputs", run_id=run, models=[{"model_id": id, "step": 5}])
    found = client.get(f"logged-models/{id}")["model"]
    assert found["info"]["status"] == "LOGGED_MODEL_READY"
    assert found["info"]["tags"] == [{"key": "t", "value": "1"}]
    assert found["data"]["params"] == [{"key": "C", "value": "1"}, {"key": "D", "value": "2"}]
    assert found["data"]["metrics"] == [
        {"key": "f1", "value": 2, "timestamp": 1, "step": 2, "model_id": id, "run_id": run}
    ]
    outputs = client.get("runs/get", run_id=run)["run"]["outputs"]
    assert outputs == {"model_outputs": [{"model_id": id, "step": 5}]}
    listed = client.ask("GET", FILES, params={"path": root})["files"]
    assert [file["path"] for file in listed] == ["MLmodel", "data"]
    assert client.read(f"{root}/data/w.bin") == b"w"
    of_run = client.ask("GET", FILES, params={"path": f"0/{run}/artifacts"})
    assert of_run["files"] == []  # MLflow's client joins the two by itself
    client.ask("DELETE", f"{FILES}/{root}/data")
    client.ask("DELETE", f"/api/2.0/mlflow/logged-models/{id}/tags/t")
    assert "tags" not in client.get(f"logged-models/{id}")["model"]["info"]


def test_a_logged_model_is_registered_with_its_run(client: Client) -> None:
    run = client.run()
    id = _logged(client, run)["model_id"]
    client.put(f"0/models/{id}/artifacts/MLmodel", b"flavors: {}\n")
    client.post("registered-models/create", name="net")
    made = client.post(
        "model-versions/create", name="net", source=f"models:/{id}", run_id=run, model_id=id
    )["model_version"]
    assert (made["run_id"], made["model_id"]) == (run, id)
    assert client.read("registered-models/net/1/MLmodel") == b"flavors: {}\n"


def test_one_that_no_run_wrote_gets_a_run(client: Client) -> None:
    made = client.post("logged-models", experiment_id="0", name="outside")["model"]["info"]
    run = client.workspace.tracking.runs.get(made["source_run_id"])
    assert (run.name, run.status) == ("outside", "finished")


def test_logged_models_are_found_by_what_they_are(client: Client) -> None:
    run = client.run()
    ids = [_logged(client, run, name)["model_id"] for name in ("a", "b", "b")]
    client.post("logged-models", experiment_id="0", name="b")
    client.delete(f"logged-models/{ids[2]}")

    def found(**asked: Any) -> list[str]:
        models = client.post("logged-models/search", **({"experiment_ids": ["0"]} | asked))
        return [model["info"]["model_id"] for model in models["models"]]

    assert found(filter=f"name = 'b' AND source_run_id = '{run}'") == [ids[1]]
    assert found(filter=f"source_run_id = '{run}'", order_by=[{"field_name": "name"}]) == ids[:2]
    newest = {"field_name": "creation_timestamp", "ascending": False, "dataset_name": None}
    assert len(found(order_by=[newest], max_results=2)) == 2
    assert found(experiment_ids=[]) == []
    for wrong in ({"filter": "wrong = 'x'"}, {"order_by": ["name"]}):
        with pytest.raises(RefusedError) as refused:
            found(**wrong)
        assert refused.value.code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(RefusedError) as refused:
        client.get(f"logged-models/{ids[2]}")
    assert refused.value.status == 404


def test_a_logged_model_is_of_its_run_and_experiment(client: Client) -> None:
    run, other = client.run(), client.run("other")
    id = _logged(client, run)["model_id"]
    elsewhere = client.post("experiments/create", name="elsewhere")["experiment_id"]
    for refused in (
        lambda: client.post("runs/outputs", run_id=other, models=[{"model_id": id}]),
        lambda: client.put(f"{elsewhere}/models/{id}/artifacts/a", b"a"),
        lambda: client.post("logged-models", experiment_id=elsewhere, source_run_id=run),
        lambda: client.patch(f"logged-models/{id}", status="LOGGED_MODEL_LOST"),
        lambda: client.patch(f"logged-models/{id}"),
    ):
        with pytest.raises(RefusedError) as error:
            refused()
        assert error.value.status in (400, 404)
