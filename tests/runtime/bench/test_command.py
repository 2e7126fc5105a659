"""``inferry bench``: what is asked, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.deployments import Observed, Replica, ServiceSettings, Share
from runtime.bench import Plan, Sample
from runtime.bench.histogram import bucket_of
from runtime.errors import ScoringCallError
from tests.runtime.bench.conftest import Targets
from tests.runtime.conftest import Cli


class FakeRun:
    """Takes the place of locust: keeps the plan, gives the samples."""

    def __init__(self, samples: Sequence[Sample], is_whole: bool = True) -> None:
        self.samples, self.is_whole = list(samples), is_whole
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan, **_: Any) -> tuple[list[Sample], bool]:
        self.plans.append(plan)
        return self.samples, self.is_whole


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    counts = {bucket_of(0.002): 98, bucket_of(0.030): 1}
    found = FakeRun([Sample(0, 0.0, 1.0, counts, failed={"HTTP 500": 1})])
    monkeypatch.setattr("runtime.bench.run", found)
    monkeypatch.setattr("runtime.cli.bench.call", lambda *_, **__: b"{}")
    return found


@pytest.fixture
def body(cli: Cli, tmp_path: Path) -> str:
    path = tmp_path / "body.json"
    path.write_text('{"data": [[1]]}')
    return str(path)


def test_steps_are_of_users_or_with_a_rate_of_rates(cli: Cli, fake: FakeRun, body: str) -> None:
    where = ("bench", "http://127.0.0.1:9", "--data", body)
    assert cli(*where, "--users", "2", "--step", "4", "--step", "8", "--duration", "3").code == 0
    assert cli(*where, "--rate", "50", "--step", "75.5").code == 0
    users, rates = fake.plans
    assert users.url == "http://127.0.0.1:9/score"
    assert [(step.users, step.rate, step.duration_s) for step in users.steps] == [
        (2, None, 3.0),
        (4, None, 3.0),
        (8, None, 3.0),
    ]
    assert [(step.users, step.rate) for step in rates.steps] == [(64, 50.0), (64, 75.5)]
    assert users.headers == {"Content-Type": "application/json"}


def test_what_makes_no_sense_is_refused(cli: Cli, fake: FakeRun, body: str) -> None:
    url = "http://127.0.0.1:9"
    for words, code in (
        (["bench", url], 1),
        (["bench", "nowhere"], 1),
        (["bench", "ftp://x", "--data", body], 1),
        (["bench", url, "--data", body, "--step", "1.5"], 1),
        (["bench", url, "--data", body, "--report", "no/such/folder.html"], 1),
        (["bench", url, "--data", body + "x"], 1),
        (["bench", url, "--data", body, "--duration", "nan"], 2),
        (["bench", url, "--data", body, "--rate", "0"], 2),
        (["bench", url, "--data", body, "--users", "0"], 2),
    ):
        done = cli(*words)
        assert (done.code, done.stdout) == (code, ""), words
        assert done.stderr
    assert fake.plans == []


def test_a_limit_that_is_not_kept_is_exit_code_1(cli: Cli, fake: FakeRun, body: str) -> None:
    where = ("bench", "http://127.0.0.1:9", "--data", body)
    assert cli(*where, "--max-error-share", "0.01", "--max-p99-ms", "40").code == 0
    done = cli(*where, "--max-error-share", "0.001", "--max-p99-ms", "20")
    assert done.code == 1
    assert done.stderr.count("inferry: ") == 2
    assert "1 of 100 requests failed" in done.stderr
    assert "p99 was" in done.stderr


def test_a_table_has_each_step_and_each_kind_of_failure(cli: Cli, fake: FakeRun, body: str) -> None:
    done = cli("bench", "http://127.0.0.1:9", "--data", body)
    assert done.code == 0
    assert "8 users" in done.stdout
    assert "1 of 100" in done.stdout
    assert "HTTP 500" in done.stdout
    assert "█" not in done.stdout  # it is no terminal


def test_a_sender_that_was_the_limit_is_said(cli: Cli, fake: FakeRun, body: str) -> None:
    where = ("bench", "http://127.0.0.1:9", "--data", body)
    fake.samples = [Sample(0, 0.0, 1.0, {5: 100}, cpu_s=0.98)]
    assert "The sender was the limit" in cli(*where).stdout
    fake.samples = [Sample(0, 0.0, 1.0, {5: 100}, cpu_s=0.3, starved_s=0.5)]
    assert "The sender had no core" in cli(*where).stdout
    fake.samples = [Sample(0, 0.0, 1.0, {5: 100}, cpu_s=0.3)]
    assert "The sender" not in cli(*where).stdout
    fake.samples = [Sample(0, 0.0, 1.0, {5: 10}, shed=90, retry_after_s=3.0)]
    said = cli(*where, "--rate", "500").stdout
    assert "More --users send more" in said
    assert "90 requests were shed" in said


def test_an_interrupted_test_shows_what_there_is(cli: Cli, fake: FakeRun, body: str) -> None:
    fake.is_whole = False
    done = cli("bench", "http://127.0.0.1:9", "--data", body)
    assert (done.code, done.stderr) == (1, "inferry: interrupted\n")
    assert "It was interrupted" in done.stdout


def test_json_has_all_of_it(cli: Cli, fake: FakeRun, body: str) -> None:
    done = cli("bench", "http://127.0.0.1:9", "--data", body, "--output", "json")
    found = json.loads(done.stdout)
    [step] = found["steps"]
    assert (step["good"], step["failed"], step["error_share"]) == (99, {"HTTP 500": 1}, 0.01)
    assert step["p50_ms"] == pytest.approx(2, rel=0.03)
    assert found["over_time"][0]["rate"] == 99.0


@pytest.mark.parametrize(
    ("status", "is_result"), [(None, False), (401, False), (400, False), (429, True), (500, True)]
)
def test_a_server_that_refuses_the_first_request_is_not_loaded(
    cli: Cli,
    fake: FakeRun,
    body: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    is_result: bool,
) -> None:
    def call(*_: object, **__: object) -> bytes:
        raise ScoringCallError("refused", status=status)

    monkeypatch.setattr("runtime.cli.bench.call", call)
    done = cli("bench", "http://127.0.0.1:9", "--data", body)
    assert (len(fake.plans) == 1) is is_result
    assert ("refused" in done.stderr) is not is_result


def test_a_deployment_is_known_by_its_name(cli: Cli, images: Workspace, fake: FakeRun) -> None:
    deployments = images.deployments
    deployments.create("web", "adder:1", service=ServiceSettings(is_keyed=True), actor="a")
    done = cli("bench", "web")
    assert (done.code, "web has no URL now" in done.stderr) == (1, True)
    deployments.set_traffic("web", [Share(1, 100.0)], actor="a")
    replica = Replica("web.1.a0", 1, "ready", address="127.0.0.1:1")
    change = deployments.get("web").change
    seen = Observed("running", None, "http://127.0.0.1:8/score", change, (replica,), "")
    deployments.observe("web", seen)
    done = cli("bench", "web")
    assert done.code == 0, done.stderr
    [plan] = fake.plans
    key = deployments.keys("web")["primary"]
    assert plan.url == "http://127.0.0.1:8/score"
    assert plan.headers["Authorization"] == f"Bearer {key}"
    assert key not in done.stdout + done.stderr
    assert "zeros by its model's signature" in done.stdout
    [body] = plan.bodies
    assert json.loads(body)


@pytest.mark.slow
def test_the_whole_command_with_locust_s_own_page(
    cli: Cli, targets: Targets, body: str, tmp_path: Path
) -> None:
    target = targets()
    page = tmp_path / "page.html"
    words = ["--data", body, "--users", "2", "--duration", "1", "--report", str(page)]
    done = cli("bench", target.url, *words, "--max-error-share", "0", "--output", "json")
    assert (done.code, done.stderr) == (0, "")
    [step] = json.loads(done.stdout)["steps"]
    assert step["good"] == len(target.seen) - 1  # but for the first one
    assert "<html" in page.read_text()
