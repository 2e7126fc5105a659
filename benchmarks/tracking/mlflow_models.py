"""Steps of mlflow_script.py that make models: logged, registered, named, in stages.

Runs where ``mlflow`` is installed and nothing of Inferry is.
"""

from __future__ import annotations

import struct
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import mlflow  # type: ignore[import-not-found,unused-ignore]
import numpy as np
from mlflow import MlflowClient

from benchmarks.tracking.mlflow_steps import MAJOR, Step, code, warnings_said

STEPS: list[Step] = []

_WEIGHTS = (
    struct.pack("<Q", 56)
    + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    + struct.pack("<2f", 1.5, -2.0)
)
_ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.8, 0.1]] * 5)
_CLASSES = np.array([0, 1, 0, 1] * 5)


def step(function: Step) -> Step:
    """One more, in the order of the file."""
    STEPS.append(function)
    return function


@step
def registering(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """A model from a run's artifacts."""
    with mlflow.start_run(run_name="trainer") as run, tempfile.TemporaryDirectory() as name:
        weights = Path(name) / "weights.safetensors"
        weights.write_bytes(_WEIGHTS)
        mlflow.log_artifact(str(weights), "model")
        mlflow.log_text(f"run_id: {run.info.run_id}\nflavors: {{}}\n", "model/MLmodel")
    kept["trainer"] = run.info.run_id
    client.create_registered_model("net", tags={"task": "digits"}, description="a net")
    taken = code(lambda: client.create_registered_model("net"))
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "net", tags={"by": "me"})
    client.update_model_version("net", "1", "the first")
    client.set_model_version_tag("net", "1", "k", "v")
    client.set_model_version_tag("net", "1", "gone", "v")
    client.delete_model_version_tag("net", "1", "gone")
    found = client.get_model_version("net", "1")
    second = client.create_model_version(
        "net", f"runs:/{run.info.run_id}/model", run.info.run_id
    ).version
    with tempfile.TemporaryDirectory() as name:
        down = Path(mlflow.artifacts.download_artifacts("models:/net/1", dst_path=name))
        files = sorted(str(p.relative_to(down)) for p in down.rglob("*") if p.is_file())
        same = (down / "weights.safetensors").read_bytes() == _WEIGHTS
    return {
        "taken": taken,
        "version": [
            version.version,
            version.status,
            version.current_stage,
            version.run_id == run.info.run_id,
        ],
        "found": [found.description, found.tags, list(found.aliases)],
        "second": str(second),
        "files": [same, files],
        "search": sorted(str(v.version) for v in client.search_model_versions("name = 'net'")),
        "by_run": len(client.search_model_versions(f"run_id = '{run.info.run_id}'")),
        "models": [m.name for m in client.search_registered_models("name LIKE 'n%'")],
        "unknown": [
            code(lambda: client.get_registered_model("nothing")),
            code(lambda: client.get_model_version("net", "99")),
            code(
                lambda: client.create_model_version(
                    "nothing", f"runs:/{run.info.run_id}/model", run.info.run_id
                )
            ),
        ],
    }


@step
def aliases(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Names of versions."""
    client.set_registered_model_alias("net", "champion", 1)
    first = client.get_model_version_by_alias("net", "champion").version
    client.set_registered_model_alias("net", "champion", 2)
    moved = client.get_model_version_by_alias("net", "champion")
    with tempfile.TemporaryDirectory() as name:
        down = mlflow.artifacts.download_artifacts("models:/net@champion", dst_path=name)
        same = (Path(down) / "weights.safetensors").read_bytes() == _WEIGHTS
    of_model = client.get_registered_model("net").aliases
    client.delete_registered_model_alias("net", "champion")
    return {
        "moved": [str(first), str(moved.version), list(moved.aliases), same],
        "of_model": {alias: str(version) for alias, version in of_model.items()},
        "gone": code(lambda: client.get_model_version_by_alias("net", "champion")),
        "no_version": code(lambda: client.set_registered_model_alias("net", "champion", 99)),
        "reserved": code(lambda: client.set_registered_model_alias("net", "latest", 1)),
    }


@step
def copying(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """One version as another model's."""
    copied = client.copy_model_version("models:/net/1", "promoted")
    return [copied.name, str(copied.version), copied.run_id == kept["trainer"]]


@step
def stages(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """What came before aliases."""
    client.transition_model_version_stage("net", "1", "Production")
    client.transition_model_version_stage("net", "2", "Production", archive_existing_versions=True)
    found = {v.current_stage: str(v.version) for v in client.get_latest_versions("net")}
    return {
        "latest": found,
        "one": [str(v.version) for v in client.get_latest_versions("net", ["Archived"])],
        "wrong": code(lambda: client.transition_model_version_stage("net", "1", "Elsewhere")),
    }


@step
def forgetting_models(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Numbers are not used again."""
    client.delete_model_version("net", "2")
    again = client.create_model_version(
        "net", f"runs:/{kept['trainer']}/model", kept["trainer"]
    ).version
    client.delete_registered_model("promoted")
    return {
        "after": str(again),
        "gone": code(lambda: client.get_model_version("net", "2")),
        "left": [m.name for m in client.search_registered_models()],
    }


@step
def hostile_sources(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Nobody registers what is on the server's disk."""
    run = kept["trainer"]
    sources = [
        "file:///etc",
        "/etc/passwd",
        "/",
        "../../etc",
        f"mlflow-artifacts:/../../{run}",
        f"runs:/{run}/../../../etc",
        f"runs:/{run}/%2e%2e/%2e%2e/etc",
        f"mlflow-artifacts://elsewhere:1/1/{run}/artifacts/model",
    ]
    return [code(partial(client.create_model_version, "net", source, run)) for source in sources]


@step
def autologging(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """scikit-learn's autolog, and its model back."""
    from sklearn.linear_model import LogisticRegression

    mlflow.sklearn.autolog()
    with warnings_said() as said, mlflow.start_run(run_name="auto") as run:
        model = LogisticRegression().fit(_ROWS, _CLASSES)
    mlflow.sklearn.autolog(disable=True)
    kept["auto"], kept["fitted"] = run.info.run_id, model
    found = client.get_run(run.info.run_id)
    back = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    return {
        "warnings": sorted(said),
        "datasets": sorted(
            [d.dataset.name, d.dataset.digest, d.dataset.source_type, d.tags[0].value]
            for d in found.inputs.dataset_inputs
        ),
        "by_dataset": [
            [r.info.run_name for r in client.search_runs([kept["experiment"]], text)]
            for text in (
                "dataset.name = 'dataset'",
                "datasets.name LIKE 'data%' AND dataset.context = 'train'",
                "dataset.context IN ('eval', 'test')",
                f"dataset.digest = '{found.inputs.dataset_inputs[0].dataset.digest}'",
            )
        ],
        "params": dict(sorted(found.data.params.items())),
        "metrics": {key: round(value, 6) for key, value in sorted(found.data.metrics.items())},
        "same": bool((back.predict(_ROWS) == model.predict(_ROWS)).all()),
        "through_run": [f.path for f in client.list_artifacts(run.info.run_id, "model")],
    }


@step
def logging_models(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """``log_model``, registered, by number, alias and stage, and back. A pickle is registered by
    leave: MLflow's server takes the tag as one like any other."""
    named = {"name" if MAJOR >= 3 else "artifact_path": "clf"}
    with warnings_said() as said, mlflow.start_run(run_name="logged"):
        info = mlflow.sklearn.log_model(
            kept["fitted"], **named, input_example=_ROWS[:2], serialization_format="cloudpickle"
        )
    made = mlflow.register_model(info.model_uri, "clf", tags={"inferry.allow_pickle": "true"})
    client.set_registered_model_alias("clf", "best", made.version)
    client.transition_model_version_stage("clf", made.version, "Staging")
    wanted = kept["fitted"].predict(_ROWS)
    return {
        "warnings": sorted(said),
        "version": [str(made.version), made.run_id == info.run_id],
        "history": "mlflow.log-model.history" in client.get_run(info.run_id).data.tags,
        "signature": str(info.signature.inputs),
        "loaded": {
            uri: bool((mlflow.pyfunc.load_model(f"models:/{uri}").predict(_ROWS) == wanted).all())
            for uri in ("clf/1", "clf@best", "clf/Staging", "clf/latest")
        },
        "no_stage": code(lambda: mlflow.pyfunc.load_model("models:/clf/Production")),
    }


def logged_models(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Models of MLflow 3: what autolog's says, and how it is found."""
    [output] = client.get_run(kept["auto"]).outputs.model_outputs
    logged = mlflow.get_logged_model(output.model_id)
    back = mlflow.sklearn.load_model(f"models:/{logged.model_id}")
    client.set_logged_model_tags(logged.model_id, {"stage": "early"})

    def found(text: str = "", key: str = "name", *, ascending: bool = True) -> list[str]:
        order = [{"field_name": key, "ascending": ascending}]
        some = mlflow.search_logged_models(
            [kept["experiment"]], text, order_by=order, output_format="list"
        )
        return [each.name for each in some]

    page = client.search_logged_models([kept["experiment"]], max_results=1)
    return {
        "model": [logged.name, str(logged.status), logged.source_run_id == kept["auto"]],
        "params": logged.params.get("C"),
        "metrics": sorted(m.key for m in logged.metrics or []),
        "same": bool((back.predict(_ROWS) == kept["fitted"].predict(_ROWS)).all()),
        "all": found(),
        "newest": found(key="creation_timestamp", ascending=False),
        "by_metric": found("metrics.training_score > 0.5", "metrics.training_score"),
        "by_param": found("params.C = '1.0'"),
        "by_tag": found("tags.stage = 'early'"),
        "by_name": found("name LIKE 'cl%'"),
        "by_run": found(f"source_run_id = '{kept['auto']}'"),
        "pages": [
            [m.name for m in page],
            [
                m.name
                for m in client.search_logged_models([kept["experiment"]], page_token=page.token)
            ],
        ],
        "unreadable": code(lambda: found("wrong.a = 1")),
    }


if MAJOR >= 3:
    step(logged_models)
