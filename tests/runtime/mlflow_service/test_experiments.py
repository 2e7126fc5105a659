"""Experiments over MLflow's REST."""

from __future__ import annotations

import pytest

from tests.runtime.mlflow_service.conftest import Client, RefusedError


def test_an_experiment_is_made_found_renamed_deleted_and_restored(client: Client) -> None:
    id = client.post("experiments/create", name="digits", tags=[{"key": "a", "value": "b"}])[
        "experiment_id"
    ]
    found = client.get("experiments/get", experiment_id=id)["experiment"]
    assert (found["name"], found["artifact_location"]) == ("digits", f"mlflow-artifacts:/{id}")
    assert found["tags"] == [{"key": "a", "value": "b"}]
    client.post("experiments/update", experiment_id=id, new_name="numbers")
    by_name = client.get("experiments/get-by-name", experiment_name="numbers")["experiment"]
    assert by_name["experiment_id"] == id
    client.post("experiments/delete", experiment_id=id)
    assert client.get("experiments/get", experiment_id=id)["experiment"]["lifecycle_stage"] == (
        "deleted"
    )
    with pytest.raises(RefusedError, match="deleted"):
        client.run(experiment=id)
    client.post("experiments/restore", experiment_id=id)
    client.run(experiment=id)


def test_the_default_experiment_is_there(client: Client) -> None:
    assert client.get("experiments/get", experiment_id="0")["experiment"]["name"] == "Default"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("experiments/create", {"name": "Default"}, 400, "RESOURCE_ALREADY_EXISTS"),
        ("experiments/create", {"name": ""}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/create", {}, 400, "INVALID_PARAMETER_VALUE"),
        (
            "experiments/create",
            {"name": "x", "artifact_location": "file:///etc"},
            400,
            "INVALID_PARAMETER_VALUE",
        ),
        ("experiments/delete", {"experiment_id": "77"}, 404, "RESOURCE_DOES_NOT_EXIST"),
        ("experiments/delete", {"experiment_id": "x"}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/update", {"experiment_id": "0"}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/search", {"max_results": 0}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/search", {"view_type": "SOME"}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/search", {"order_by": ["wrong"]}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/search", {"filter": "name >"}, 400, "INVALID_PARAMETER_VALUE"),
        ("experiments/search", {"page_token": "x"}, 400, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_what_is_wrong_is_said_in_mlflows_words(
    client: Client, path: str, body: dict[str, object], status: int, code: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        client.post(path, **body)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_who_asks_for_a_name_that_is_not_there_is_told_so(client: Client) -> None:
    with pytest.raises(RefusedError) as refused:
        client.get("experiments/get-by-name", experiment_name="nothing")
    assert (refused.value.status, refused.value.code) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("view", ["ACTIVE_ONLY", 1, "1", None])
def test_a_search_has_views_orders_filters_and_pages(client: Client, view: object) -> None:
    ids = {
        name: client.post("experiments/create", name=name)["experiment_id"] for name in ("b", "a")
    }
    client.post("experiments/set-experiment-tag", experiment_id=ids["a"], key="k", value="v")
    client.post("experiments/delete", experiment_id=ids["b"])

    def names(**asked: object) -> list[str]:
        found = client.post("experiments/search", **asked)
        return [each["name"] for each in found["experiments"]]

    assert names(view_type=view, order_by=["name DESC"]) == ["a", "Default"]
    assert names(view_type="DELETED_ONLY") == ["b"]
    assert names(view_type="ALL", order_by=["experiment_id"]) == ["Default", "b", "a"]
    assert names(filter="tags.k = 'v'") == ["a"]
    first = client.post("experiments/search", max_results="1", order_by=["name"])
    assert names(max_results=1, order_by=["name"], page_token=first["next_page_token"]) == ["a"]
    client.post("experiments/delete-experiment-tag", experiment_id=ids["a"], key="k")
    assert names(filter="tags.k = 'v'") == []
