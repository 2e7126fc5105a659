"""What the stock ``mlflow`` client is made to do, and what came of it, as JSON on the last line.

    PYTHON -m benchmarks.tracking.mlflow_script http://127.0.0.1:5000

Runs where ``mlflow`` is installed, 2 or 3, and nothing of Inferry is. Each step is a function; what
it returns is its outcome, an error's code if it raised. What differs from time to time (ids, times,
names that are made up, addresses) is replaced, so that outcomes of two servers can be compared.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow  # type: ignore[import-not-found,unused-ignore]
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType  # type: ignore[import-not-found,unused-ignore]

from benchmarks.tracking import mlflow_models
from benchmarks.tracking.mlflow_steps import STEPS, code, listed, plain, record, step

_RUN = re.compile(r"\b[0-9a-f]{32}\b")


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


def main() -> None:
    """Prints the outcomes of all steps."""
    mlflow.set_tracking_uri(sys.argv[1])
    client, kept, found = MlflowClient(), dict[str, Any](), {}
    for function in (*STEPS, *mlflow_models.STEPS):
        try:
            outcome = function(client, kept)
        except Exception as error:
            outcome = f"{type(error).__name__}: {_RUN.sub('...', str(error))[:300]}"
        found[function.__name__] = outcome
    print("\n" + json.dumps(found, sort_keys=True, default=str))


if __name__ == "__main__":
    main()
