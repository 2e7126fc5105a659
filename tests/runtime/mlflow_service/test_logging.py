"""What runs log over MLflow's REST."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from runtime.mlflow_service import Limits, MlflowApp
from tests.runtime.mlflow_service.conftest import API, Client, RefusedError


def _data(client: Client, run: str) -> Any:
    return client.get("runs/get", run_id=run)["run"]["data"]


def _history(client: Client, run: str, key: str, **more: Any) -> Any:
    return client.get("metrics/get-history", run_id=run, metric_key=key, **more)


def test_numbers_of_all_kinds_go_in_and_come_out(client: Client) -> None:
    run = client.run()
    sent: list[object] = [1, 1.5, "NaN", "Infinity", "-Infinity", "2.5"]
    for number, value in enumerate(sent):
        client.post(
            "runs/log-metric",
            run_id=run,
            run_uuid=run,
            key="loss",
            value=value,
            timestamp=str(number),
            step=str(number),
        )
    found = _history(client, run, "loss")["metrics"]
    assert [point["value"] for point in found] == [1, 1.5, "NaN", "Infinity", "-Infinity", 2.5]
    assert [point["step"] for point in found] == list(range(6))
    assert _data(client, run)["metrics"] == [
        {"key": "loss", "value": 2.5, "timestamp": 5, "step": 5}
    ]
    kept = client.workspace.tracking.metrics.history(run, "loss")
    assert math.isnan(kept[2].value)


def test_a_series_comes_in_pages(client: Client) -> None:
    run = client.run()
    metrics = [{"key": "m", "value": n, "timestamp": n, "step": n} for n in range(10)]
    client.post("runs/log-batch", run_id=run, metrics=metrics)
    first = _history(client, run, "m", max_results="4")
    second = _history(client, run, "m", max_results="9", page_token=first["next_page_token"])
    assert [p["step"] for p in first["metrics"] + second["metrics"]] == list(range(10))
    assert "next_page_token" not in second
    assert _history(client, run, "none")["metrics"] == []
    with pytest.raises(RefusedError):
        _history(client, run, "m", max_results=0)


def test_a_batch_is_whole_or_nothing(client: Client) -> None:
    run = client.run()
    client.post("runs/log-parameter", run_id=run, key="lr", value="0.1")
    with pytest.raises(RefusedError, match="cannot become"):
        client.post(
            "runs/log-batch",
            run_id=run,
            metrics=[{"key": "m", "value": 1, "timestamp": 1}],
            tags=[{"key": "t", "value": "1"}],
            params=[{"key": "lr", "value": "0.2"}],
        )
    data = _data(client, run)
    assert "metrics" not in data
    assert "t" not in [tag["key"] for tag in data["tags"]]
    client.post("runs/log-parameter", run_id=run, key="lr", value="0.1")


def test_what_is_sent_again_is_there_once(client: Client) -> None:
    run = client.run()
    metrics = [{"key": "m", "value": n, "timestamp": n, "step": n} for n in range(1000)]
    for _ in range(3):
        client.post("runs/log-batch", run_id=run, metrics=metrics)
        client.post("runs/log-metric", run_id=run, key="n", value="NaN", timestamp=1, step=1)
    assert len(client.workspace.tracking.metrics.history(run, "m")) == 1000
    assert len(client.workspace.tracking.metrics.history(run, "n")) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("runs/log-metric", {"key": "m", "value": "x", "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": None, "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": 1}),
        ("runs/log-metric", {"key": "", "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": "m" * 300, "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": "m\x1b[31m", "value": 1, "timestamp": 1}),
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 2**63}),
        ("runs/log-metric", {"key": ["m"], "value": 1, "timestamp": 1}),
        ("runs/log-parameter", {"key": "p", "value": "v" * 6001}),
        ("runs/log-parameter", {"key": "p", "value": 1}),
        ("runs/set-tag", {"key": "t", "value": "v" * 8001}),
        ("runs/log-batch", {"metrics": [{"key": "m", "value": 1, "timestamp": 1}] * 1001}),
        ("runs/log-batch", {"params": [{"key": f"p{n}"} for n in range(101)]}),
        ("runs/log-batch", {"params": [{"key": "p", "value": v} for v in "ab"]}),
        ("runs/log-batch", {"tags": [{"value": "v"}]}),
        ("runs/log-batch", {"metrics": {"key": "m"}}),
    ],
)
def test_what_cannot_be_kept_is_refused(client: Client, path: str, body: dict[str, Any]) -> None:
    run = client.run()
    with pytest.raises(RefusedError) as refused:
        client.post(path, run_id=run, **body)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PARAMETER_VALUE")
    data = _data(client, run)
    assert "metrics" not in data
    assert "params" not in data


async def _log_all(app: MlflowApp, runs: list[str], count: int) -> list[int]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        answers = await asyncio.gather(
            *(
                http.post(
                    f"{API}runs/log-metric",
                    json={"run_id": run, "key": "m", "value": n, "timestamp": n, "step": n},
                )
                for n in range(count)
                for run in runs
            )
        )
    return [answer.status_code for answer in answers]


def test_what_comes_at_the_same_time_is_all_kept(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    app = MlflowApp(workspace)
    runs = [workspace.tracking.runs.create("e").id for _ in range(4)]
    workspace.tracking.runs.delete(runs[0])
    statuses = asyncio.run(_log_all(app, runs, 40))
    assert statuses == [400, 200, 200, 200] * 40  # one that is refused spoils no other
    counts = [len(workspace.tracking.metrics.history(run, "m")) for run in runs[1:]]
    assert counts == [40, 40, 40]
    app.close()


def test_too_much_at_the_same_time_is_asked_to_come_back(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    app = MlflowApp(workspace, limits=Limits(waiting=3))
    run = workspace.tracking.runs.create("e").id
    statuses = asyncio.run(_log_all(app, [run], 40))
    assert set(statuses) == {200, 429}
    assert len(workspace.tracking.metrics.history(run, "m")) == statuses.count(200)
    app.close()
