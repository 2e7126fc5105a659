"""What the stock ``mlflow`` client is made to do, and what came of it, as JSON on the last line.

    PYTHON -m benchmarks.tracking.mlflow_script http://127.0.0.1:5000

Runs where ``mlflow`` is installed and nothing of Inferry is. Each step is a function; what it
returns is its outcome, an error's code if it raised. What differs from time to time (ids, times,
names that are made up, addresses) is replaced, so that outcomes of two servers can be compared.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow  # type: ignore[import-not-found,unused-ignore]
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType  # type: ignore[import-not-found,unused-ignore]
from mlflow.exceptions import MlflowException  # type: ignore[import-not-found,unused-ignore]

Step = Callable[[MlflowClient, dict[str, Any]], Any]
STEPS: list[Step] = []
_RUN = re.compile(r"\b[0-9a-f]{32}\b")
_WEIGHTS = (
    struct.pack("<Q", 56)
    + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    + struct.pack("<2f", 1.5, -2.0)
)


def step(function: Step) -> Step:
    """One more, in the order of the file."""
    STEPS.append(function)
    return function


@step
def experiments(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """From creation to deletion and back."""
    assert client.get_experiment_by_name("digits") is None
    id = kept["experiment"] = client.create_experiment("digits", tags={"team": "vision"})
    taken = code(lambda: client.create_experiment("digits"))
    found = client.get_experiment(id)
    client.rename_experiment(id, "numbers")
    client.set_experiment_tag(id, "stage", "early")
    renamed = client.get_experiment_by_name("numbers")
    client.rename_experiment(id, "digits")
    other = client.create_experiment("other")
    client.delete_experiment(other)
    deleted = client.get_experiment(other).lifecycle_stage
    in_deleted = code(lambda: client.create_run(other))
    views = {
        view: sorted(e.name for e in client.search_experiments(view_type=number))
        for view, number in (("active", ViewType.ACTIVE_ONLY), ("deleted", ViewType.DELETED_ONLY))
    }
    client.restore_experiment(other)
    pages = []
    page = client.search_experiments(max_results=1, order_by=["name ASC"])
    while True:
        pages += [e.name for e in page]
        if not page.token:
            break
        page = client.search_experiments(
            max_results=1, order_by=["name ASC"], page_token=page.token
        )
    return {
        "found": [
            found.name,
            found.lifecycle_stage,
            found.tags,
            found.artifact_location == f"mlflow-artifacts:/{id}",
        ],
        "taken": taken,
        "renamed": [renamed.experiment_id == id, renamed.tags],
        "deleted": [deleted, in_deleted],
        "views": views,
        "pages": pages,
        "filtered": [
            e.name for e in client.search_experiments(filter_string="tags.team = 'vision'")
        ],
        "unknown": [
            code(lambda: client.get_experiment("987654")),
            code(lambda: client.rename_experiment("987654", "x")),
        ],
    }


@step
def fluent_run(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """What most scripts do."""
    mlflow.set_experiment("digits")
    with mlflow.start_run(run_name="first", tags={"kind": "a"}, description="what it is") as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_params({"depth": 3, "name": "ä b"})
        for number, loss in enumerate([1.5, 0.75, float("nan"), 0.5]):
            mlflow.log_metric("loss", loss, step=number)
        mlflow.log_metrics({"accuracy": 0.9, "recall": 0.8}, step=3)
        mlflow.set_tags({"x": "y", "empty": ""})
        with mlflow.start_run(nested=True, run_name="child") as child:
            mlflow.log_metric("loss", 2.0)
    kept["run"], kept["child"] = run.info.run_id, child.info.run_id
    found = client.get_run(run.info.run_id)
    return {
        "run": record(found),
        "child": record(client.get_run(child.info.run_id)),
        "parent": client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"]
        == run.info.run_id,
        "history": [
            [m.step, plain(m.value)] for m in client.get_metric_history(run.info.run_id, "loss")
        ],
        "no_history": len(client.get_metric_history(run.info.run_id, "nothing")),
        "uri": found.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts"),
    }


@step
def changing_what_is_said(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """What can be said twice, and what cannot."""
    run = kept["run"]
    client.set_tag(run, "x", "z")
    client.delete_tag(run, "kind")
    client.log_param(run, "lr", "0.1")
    changed = code(lambda: client.log_param(run, "lr", "0.2"))
    torn = code(
        lambda: client.log_batch(
            run, metrics=[Metric("torn", 1.0, 1, 1)], params=[Param("lr", "7")], tags=[]
        )
    )
    client.update_run(run, name="renamed")
    found = client.get_run(run)
    return {
        "param": [changed, torn, "torn" in found.data.metrics],
        "name": [found.info.run_name, found.data.tags["mlflow.runName"]],
        "tags": [found.data.tags["x"], "kind" in found.data.tags],
        "no_tag": code(lambda: client.delete_tag(run, "kind")),
    }


@step
def batches(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Many values at once, and the same ones again, as a client does that got no answer."""
    run = kept["batch"] = client.create_run(kept["experiment"], run_name="batch").info.run_id
    metrics = [Metric("m", float(n), 1_700_000_000_000 + n, n) for n in range(900)]
    params = [Param(f"p{n}", str(n)) for n in range(90)]
    for _ in range(2):
        client.log_batch(run, metrics=metrics, params=[], tags=[])
        client.log_batch(run, metrics=[], params=params, tags=[RunTag("t", "1")])
    client.set_terminated(run, "KILLED")
    found = client.get_run(run)
    return {
        "values": len(client.get_metric_history(run, "m")),
        "last": found.data.metrics["m"],
        "params": len(found.data.params),
        "status": found.info.status,
        "ended": found.info.end_time is not None,
    }


@step
def failing(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """A script that raises."""
    try:
        with mlflow.start_run(run_name="broken") as run:
            mlflow.log_metric("loss", 9.0)
            raise RuntimeError("as it happens")
    except RuntimeError:
        return client.get_run(run.info.run_id).info.status


@step
def searches(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Filters, orders, pages."""
    id = kept["experiment"]

    def names(text: str = "", *orders: str, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
        found = client.search_runs([id], text, run_view_type=view, order_by=list(orders))
        return [run.info.run_name for run in found]

    paged, token = [], None
    while True:
        page = client.search_runs(
            [id], max_results=2, order_by=["attributes.run_name ASC"], page_token=token
        )
        paged.append([run.info.run_name for run in page])
        token = page.token
        if not token:
            break
    return {
        "all": sorted(names()),
        "metric": names("metrics.loss > 1", "metrics.loss DESC"),
        "param": names("params.lr = '0.1' AND params.depth = '3'"),
        "tag": names("tags.x LIKE 'z%'"),
        "parent": names(f"tags.mlflow.parentRunId = '{kept['run']}'"),
        "status": names("attributes.status = 'FAILED'"),
        "name": names("run_name ILIKE 'BAT%'"),
        "ordered": names("metrics.loss < 1e9", "metrics.loss ASC"),
        "pages": paged,
        "nothing": names("params.lr = '7'"),
        "unreadable": [code(lambda: names("loss >")), code(lambda: names("wrong.loss > 1"))],
    }


@step
def deleting(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """A run that is deleted takes nothing."""
    run = kept["batch"]
    client.delete_run(run)
    refused = [
        code(lambda: client.log_metric(run, "m", 1.0)),
        code(lambda: client.log_param(run, "new", "1")),
        code(lambda: client.set_tag(run, "new", "1")),
    ]
    stage = client.get_run(run).info.lifecycle_stage
    client.restore_run(run)
    client.log_metric(run, "after", 1.0)
    return {
        "refused": refused,
        "stage": stage,
        "restored": client.get_run(run).data.metrics["after"],
        "unknown": [
            code(lambda: client.get_run("0" * 32)),
            code(lambda: client.log_metric("0" * 32, "m", 1.0)),
        ],
    }


@step
def artifacts(client: MlflowClient, kept: dict[str, Any]) -> Any:
    """Files up, listed, and down again."""
    run = kept["run"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "out/deep").mkdir(parents=True)
        (folder / "out/a b.txt").write_text("one")
        (folder / "out/deep/ü.bin").write_bytes(bytes(range(256)) * 10_000)
        (folder / "out/empty").write_bytes(b"")
        client.log_artifacts(run, str(folder / "out"), "out")
        client.log_text(run, "hello", "notes/hello.txt")
        client.log_dict(run, {"a": [1, 2]}, "conf.json")
        back = Path(client.download_artifacts(run, "out", name))
        same = (back / "deep/ü.bin").read_bytes() == bytes(range(256)) * 10_000
        sizes = {str(p.relative_to(back)): p.stat().st_size for p in back.rglob("*") if p.is_file()}
    client.log_text(run, "changed", "notes/hello.txt")
    return {
        "root": listed(client, run),
        "out": listed(client, run, "out"),
        "a_file": listed(client, run, "conf.json"),
        "nothing": listed(client, run, "nowhere"),
        "same": [same, sizes],
        "changed": mlflow.artifacts.load_text(f"runs:/{run}/notes/hello.txt"),
        "dict": mlflow.artifacts.load_dict(f"runs:/{run}/conf.json"),
        "missing": code(lambda: mlflow.artifacts.load_text(f"runs:/{run}/no.txt")),
    }


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
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.8, 0.1]] * 5)
    with mlflow.start_run(run_name="auto") as run:
        model = LogisticRegression().fit(rows, np.array([0, 1, 0, 1] * 5))
    mlflow.sklearn.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    [output] = found.outputs.model_outputs
    logged = mlflow.get_logged_model(output.model_id)
    back = mlflow.sklearn.load_model(f"models:/{logged.model_id}")
    [searched] = mlflow.search_logged_models(
        experiment_ids=[kept["experiment"]],
        filter_string="name = 'model'",
        output_format="list",
    )
    return {
        "datasets": sorted(
            [d.dataset.name, d.dataset.digest, d.dataset.source_type, d.tags[0].value]
            for d in found.inputs.dataset_inputs
        ),
        "params": dict(sorted(found.data.params.items())),
        "metrics": {key: round(value, 6) for key, value in sorted(found.data.metrics.items())},
        "model": [logged.name, str(logged.status), logged.source_run_id == run.info.run_id],
        "model_params": logged.params.get("C"),
        "model_metrics": sorted(m.key for m in logged.metrics or []),
        "searched": searched.model_id == logged.model_id,
        "same": bool((back.predict(rows) == model.predict(rows)).all()),
        "through_run": [f.path for f in client.list_artifacts(run.info.run_id, "model")],
    }


def code(call: Callable[[], Any]) -> str:
    """The error's code, or what was returned although an error was to be."""
    try:
        call()
    except MlflowException as error:
        return str(error.error_code)
    except Exception as error:
        return type(error).__name__
    return "no error"


def plain(value: float) -> float | str:
    """JSON has no NaN."""
    return value if math.isfinite(value) else str(value)


def record(run: Any) -> Any:
    """What a run says, without what differs from time to time."""
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.source.git")}
    for key in ("mlflow.user", "mlflow.source.name", "mlflow.parentRunId"):
        if key in tags:
            tags[key] = "..."
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": dict(run.data.params),
        "metrics": {key: plain(value) for key, value in run.data.metrics.items()},
        "tags": tags,
        "ended": run.info.end_time >= run.info.start_time,
    }


def listed(client: MlflowClient, run: str, path: str | None = None) -> Any:
    """What is in a folder."""
    return [[f.path, f.is_dir, f.file_size] for f in client.list_artifacts(run, path)]


def main() -> None:
    """Prints the outcomes of all steps."""
    mlflow.set_tracking_uri(sys.argv[1])
    client, kept, found = MlflowClient(), dict[str, Any](), {}
    for function in STEPS:
        try:
            outcome = function(client, kept)
        except Exception as error:
            outcome = f"{type(error).__name__}: {_RUN.sub('...', str(error))[:300]}"
        found[function.__name__] = outcome
    print("\n" + json.dumps(found, sort_keys=True, default=str))


if __name__ == "__main__":
    main()
