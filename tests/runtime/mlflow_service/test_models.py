"""Registered models, their versions, aliases and stages over MLflow's REST."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from registry.errors import InUseError
from tests.runtime.mlflow_service.conftest import FILES, Client, RefusedError


def _version(client: Client, version: int = 1, name: str = "net") -> Any:
    return client.get("model-versions/get", name=name, version=version)["model_version"]


def test_a_version_has_the_bytes_of_its_run_and_keeps_them(client: Client) -> None:
    run = client.model()
    client.put(f"0/{run}/artifacts/model/weights.bin", b"changed")
    client.ask("DELETE", f"{FILES}/0/{run}/artifacts/model/MLmodel")
    uri = client.get("model-versions/get-download-uri", name="net", version="1")["artifact_uri"]
    assert uri == "mlflow-artifacts:/registered-models/net/1"
    path = uri.removeprefix("mlflow-artifacts:/")
    listed = client.ask("GET", FILES, params={"path": path})["files"]
    assert [file["path"] for file in listed] == ["MLmodel", "weights.bin"]
    assert client.read(f"{path}/weights.bin") == b"weights"
    assert client.read(f"{path}/MLmodel") == b"flavors: {}\n"
    model = client.workspace.models.get("net:1")
    assert [file.path for file in model.files] == ["MLmodel", "weights.bin"]
    for method in ("PUT", "DELETE"):
        with pytest.raises(RefusedError, match="never change") as refused:
            client.ask(method, f"{FILES}/{path}/weights.bin")
        assert refused.value.status == 403


def test_a_version_and_its_run_know_each_other(client: Client) -> None:
    run = client.model()
    assert _version(client)["run_id"] == run
    [link] = client.workspace.lineage.of_model("net:1").came_from
    assert str(link) == "run Default:1"
    with pytest.raises(InUseError, match="model net:1"):
        client.workspace.tracking.runs.remove(run)


def test_a_name_is_there_before_its_first_version(client: Client) -> None:
    client.post(
        "registered-models/create",
        name="net",
        description="a net",
        tags=[{"key": "task", "value": "digits"}],
    )
    found = client.get("registered-models/get", name="net")["registered_model"]
    assert (found["description"], found["tags"]) == (
        "a net",
        [{"key": "task", "value": "digits"}],
    )
    assert "latest_versions" not in found
    client.patch("registered-models/update", name="net", description="another")
    client.post("registered-models/set-tag", name="net", key="k", value="v")
    client.delete("registered-models/delete-tag", name="net", key="task")
    [found] = client.get("registered-models/search", filter="tag.k = 'v'")["registered_models"]
    assert found["description"] == "another"
    with pytest.raises(RefusedError) as refused:
        client.post("registered-models/create", name="net")
    assert refused.value.code == "RESOURCE_ALREADY_EXISTS"
    client.delete("registered-models/delete", name="net")
    with pytest.raises(RefusedError) as refused:
        client.get("registered-models/get", name="net")
    assert refused.value.status == 404


def test_what_was_registered_without_mlflow_is_there_too(client: Client, tmp_path: Any) -> None:
    (tmp_path / "weights.bin").write_bytes(b"own")
    client.workspace.models.register(tmp_path / "weights.bin", name="own", tags={"a": "b"})
    found = client.get("registered-models/get", name="own")["registered_model"]
    [version] = found["latest_versions"]
    assert version["tags"] == [{"key": "a", "value": "b"}]
    assert version["source"] == "mlflow-artifacts:/registered-models/own/1"
    assert client.read("registered-models/own/1/weights.bin") == b"own"
    client.post("registered-models/set-tag", name="own", key="k", value="v")
    client.post("model-versions/transition-stage", name="own", version="1", stage="staging")
    assert _version(client, name="own")["current_stage"] == "Staging"


def test_tags_and_descriptions_of_versions(client: Client) -> None:
    client.model()
    client.post("model-versions/set-tag", name="net", version="1", key="k", value="v")
    client.patch("model-versions/update", name="net", version="1", description="first")
    found = _version(client)
    assert (found["tags"], found["description"]) == ([{"key": "k", "value": "v"}], "first")
    client.delete("model-versions/delete-tag", name="net", version="1", key="k")
    assert "tags" not in _version(client)


def test_an_alias_moves_and_its_version_cannot_be_deleted(client: Client) -> None:
    run = client.model()
    client.post("model-versions/create", name="net", source=f"runs:/{run}/model", run_id=run)
    alias = {"name": "net", "alias": "champion"}
    client.post("registered-models/alias", **alias, version="1")
    client.post("registered-models/alias", **alias, version="2")
    found = client.get("registered-models/alias", **alias)["model_version"]
    assert (found["version"], found["aliases"]) == ("2", ["champion"])
    for path, body in (
        ("model-versions/delete", {"name": "net", "version": "2"}),
        ("registered-models/delete", {"name": "net"}),
    ):
        with pytest.raises(RefusedError, match="alias champion") as refused:
            client.delete(path, **body)
        assert (refused.value.status, refused.value.code) == (412, "RESOURCE_CONFLICT")
    client.delete("model-versions/delete", name="net", version="1")
    client.delete("registered-models/alias", **alias)
    with pytest.raises(RefusedError, match="not found"):
        client.get("registered-models/alias", **alias)
    changes = client.workspace.aliases.history("net")
    assert [change.version for change in changes] == [1, 2, None]


def test_stages_are_what_they_were_before_aliases(client: Client) -> None:
    run = client.model()
    client.post("model-versions/create", name="net", source=f"runs:/{run}/model")
    for version, archive in (("1", False), ("2", True)):
        client.post(
            "model-versions/transition-stage",
            name="net",
            version=version,
            stage="production",
            archive_existing_versions=archive,
        )
    assert [_version(client, n)["current_stage"] for n in (1, 2)] == ["Archived", "Production"]
    for ask in (client.get, client.post):
        found = ask("registered-models/get-latest-versions", name="net", stages=["Archived"])
        assert [version["version"] for version in found["model_versions"]] == ["1"]
    with pytest.raises(RefusedError, match="is no stage"):
        client.post("model-versions/transition-stage", name="net", version="1", stage="x")


def test_versions_are_found_by_what_they_are(client: Client) -> None:
    run = client.model("a")
    client.model("b")
    client.post("model-versions/set-tag", name="b", version="1", key="k", value="v")

    def names(text: str, **more: Any) -> list[str]:
        found = client.get("model-versions/search", filter=text, **more)
        return [version["name"] for version in found["model_versions"]]

    assert names(f"run_id = '{run}'") == ["a"]
    assert names("name LIKE '%'", order_by="name ASC") == ["a", "b"]
    assert names("tags.k = 'v'") == ["b"]
    assert names("tags.k != 'v'") == ["a"]
    assert names("version_number > 1") == []
    assert names("name IN ('a', 'c')") == ["a"]
    assert names("name ILIKE 'B'") == ["b"]
    first = client.get("model-versions/search", max_results=1, order_by=["name DESC"])
    assert names("", max_results=1, order_by="name DESC", page_token=first["next_page_token"]) == [
        "a"
    ]
    with pytest.raises(RefusedError):
        names("wrong = 'a'")
    with pytest.raises(RefusedError):
        names("", max_results=0)


def test_a_version_can_come_from_another_one(client: Client) -> None:
    run = client.model()
    client.post("registered-models/alias", name="net", alias="champion", version="1")
    client.post("registered-models/create", name="copy")
    for number, source in enumerate(
        ("models:/net/1", "models:/net@champion", "models:/net/latest"), start=1
    ):
        made = client.post("model-versions/create", name="copy", source=source)["model_version"]
        assert (made["version"], made["run_id"], made["source"]) == (str(number), run, source)
    assert client.read("registered-models/copy/3/weights.bin") == b"weights"


SOURCES = [
    "/",
    "/etc",
    "etc",
    "file:///etc",
    "file:/etc",
    "s3://bucket/x",
    "http://169.254.169.254/latest",
    "https://user:secret@host/x",
    "dbfs:/x",
    "mlflow-artifacts:",
    "mlflow-artifacts:/",
    "mlflow-artifacts://host:1/0/{run}/artifacts/model",
    "mlflow-artifacts:/0/{run}/artifacts/../../../etc",
    "mlflow-artifacts:/0/{run}/artifacts/%2e%2e/%2e%2e/etc",
    "mlflow-artifacts:/7/{run}/artifacts/model",
    "MLFLOW-ARTIFACTS:/0/{run}/artifacts/model",
    "runs:/{run}/../x",
    "runs:/{run}/%252e%252e/x",
    "runs://host/{run}/model",
    "runs:/{run}/logged-models",
    "runs:/{run}/none",
    "runs:/x/model",
    "runs:/" + "0" * 32 + "/model",
    "models:/net/99",
    "models:/net@none",
    "models:/none/1",
    "models:/net/../1",
    "models:/m-" + "0" * 32,
    "models:/",
    "models:/a/b/c",
    " runs:/{run}/model",
    "runs:/{run}/model\n",
]


def test_nobody_registers_what_is_not_in_the_workspace(client: Client) -> None:
    run = client.model()
    for source in SOURCES:
        with pytest.raises(RefusedError) as refused:
            client.post("model-versions/create", name="net", source=source.format(run=run))
        assert refused.value.status in (400, 404), source
    assert len(client.workspace.models.list()) == 1


def test_a_source_is_of_the_run_that_it_says(client: Client) -> None:
    run, other = client.model(), client.run()
    with pytest.raises(RefusedError, match="run_id"):
        client.post("model-versions/create", name="net", source=f"runs:/{run}/model", run_id=other)
    with pytest.raises(RefusedError, match="model_id"):
        client.post("model-versions/create", name="net", source=f"runs:/{run}/model", model_id="m")


def test_one_file_is_a_model_too(client: Client) -> None:
    run = client.model()
    client.post("model-versions/create", name="net", source=f"runs:/{run}/model/weights.bin")
    assert client.read("registered-models/net/2/weights.bin") == b"weights"


def test_an_onnx_file_that_is_none_is_refused(client: Client) -> None:
    run = client.run()
    client.put(f"0/{run}/artifacts/m/model.onnx", b"no onnx")
    client.post("registered-models/create", name="net")
    with pytest.raises(RefusedError, match="ONNX") as refused:
        client.post("model-versions/create", name="net", source=f"runs:/{run}/m")
    assert refused.value.code == "INVALID_PARAMETER_VALUE"
    assert client.workspace.models.list() == []
    assert client.read(f"0/{run}/artifacts/m/model.onnx") == b"no onnx"


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "../x", "a b", "x" * 200])
def test_a_name_is_what_models_can_have(client: Client, name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        client.post("registered-models/create", name=name)
    assert refused.value.code == "INVALID_PARAMETER_VALUE"


def test_a_pickle_is_registered_by_who_says_so(client: Client) -> None:
    run = client.run()
    client.put(f"0/{run}/artifacts/m/model.pkl", pickle.dumps({"a": 1}))
    client.put(f"0/{run}/artifacts/m/MLmodel", b"flavors: {}\n")
    client.post("registered-models/create", name="net")
    asked = {"name": "net", "source": f"runs:/{run}/m", "run_id": run}
    for tags in ([], [{"key": "inferry.allow_pickle", "value": "false"}]):
        with pytest.raises(RefusedError, match="pickle") as refused:
            client.post("model-versions/create", **asked, tags=tags)
        assert refused.value.code == "INVALID_PARAMETER_VALUE"
    tag = {"key": "inferry.allow_pickle", "value": "true"}
    client.post("model-versions/create", **asked, tags=[tag])
    assert "inferry.pickle" in client.workspace.models.get("net:1").properties
