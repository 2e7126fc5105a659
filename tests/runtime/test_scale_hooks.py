"""A deployment under load goes from one replica to three and back, by ``inferry up``: hooks are
told of each change once, Prometheus reads the numbers, and a hook says "not now"."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from registry import Workspace
from registry.deployments import Autoscale, Health, Hooks, RevisionSettings, ServiceSettings
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.deployments.waiting import eventually
from tests.runtime.hooks.receivers import Receiver, Say, receiving
from tests.runtime.server import Server, request
from tests.runtime.test_deploy import removed

SCRIPT = """
import time

def init():
    pass

def run(data):
    time.sleep(0.05)
    return data
"""
USERS = 6
RECORD = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"


@contextlib.contextmanager
def asking(url: str) -> Iterator[list[int]]:
    """USERS ask one request after the other; the statuses of all answers."""
    over, statuses = threading.Event(), list[int]()
    parts = urlsplit(url)

    def ask() -> None:
        link = http.client.HTTPConnection(parts.hostname or "", parts.port or 0, timeout=60)
        with contextlib.closing(link):
            while not over.is_set():
                link.request("POST", "/score", b'{"a": 1}', {"Content-Type": "application/json"})
                answer = link.getresponse()
                answer.read()
                statuses.append(answer.status)

    threads = [threading.Thread(target=ask) for _ in range(USERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join(90)


def metrics(port: int) -> dict[tuple[str, ...], float]:
    status, body = request(f"http://127.0.0.1:{port}/metrics")
    assert status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def changes(told: list[dict[str, object]]) -> list[tuple[object, object, object]]:
    """Of each change that is through: from, to, outcome. Each was told before, and after, once."""
    found = []
    for each in told:
        if each["moment"] == "after":
            same = [other for other in told if other["change"] == each["change"]]
            assert [other["moment"] for other in same] == ["before", "after"], same
            found.append((each["from_replicas"], each["to_replicas"], each["outcome"]))
    return found


def bodies(receiver: Receiver) -> list[dict[str, object]]:
    return [json.loads(got.body) for got in receiver.got]


@pytest.fixture
def web(cli: Cli, tmp_path: Path) -> Workspace:
    """The image ``slow``, of a script that takes 50 ms."""
    workspace = Workspace.open(tmp_path / ".inferry")
    workspace.models.register(adder(tmp_path / "m.onnx"), name="adder")
    (tmp_path / "score.py").write_text(SCRIPT)
    workspace.images.create("slow", models=["adder"], script=tmp_path / "score.py", proof=False)
    return workspace


@pytest.mark.slow
def test_hooks_are_told_of_each_change_of_scale_once(
    cli: Cli, tmp_path: Path, web: Workspace
) -> None:
    told = tmp_path / "told"
    with (
        removed(web.root),
        receiving() as receiver,
        contextlib.ExitStack() as ending,
    ):
        web.deployments.create(
            "web",
            "slow",
            service=ServiceSettings(
                least_replicas=1,
                most_replicas=3,
                autoscale=Autoscale(in_flight=2.0, down_after_s=1.0),
                hooks=Hooks(
                    before_webhook=receiver.url,
                    after_webhook=receiver.url,
                    before_command=(sys.executable, "-S", "-c", RECORD, str(told)),
                    after_command=(sys.executable, "-S", "-c", RECORD, str(told)),
                    timeout_s=30.0,
                ),
            ),
            settings=RevisionSettings(workers=1, health=Health(interval_s=0.1)),
            secrets={"hook-secret": b"whsec_c2VjcmV0"},
            actor="ada",
        )
        up = Server(["inferry", "up", "--listen", "127.0.0.1:0"], cwd=tmp_path)
        ending.callback(up.stop)
        port = int(eventually(lambda: _said(up, "Metrics: http://127.0.0.1:")).split("/")[0])
        url = eventually(lambda: _url(web))

        def ready() -> float:
            return metrics(port).get(("inferry_deployment_replicas_ready", "web", "1"), 0)

        eventually(lambda: ready() == 1)
        assert receiver.got == []  # the first replica is no change
        with asking(url) as statuses:
            eventually(lambda: ready() == 3)
            eventually(lambda: changes(bodies(receiver)) and changes(bodies(receiver))[-1][1] == 3)
            assert cli("deployment", "scale", "web", "1").code == 0
            eventually(lambda: ready() == 1 and changes(bodies(receiver))[-1][1] == 1)
        assert set(statuses) == {200}

        by_webhook = bodies(receiver)
        through = changes(by_webhook)
        assert (through[0][0], through[-1]) == (1, (3, 1, "done"))
        assert [each[1] for each in through[:-1]][-1] == 3
        eventually(lambda: told.read_text().count("\n") == len(by_webhook))
        assert len({got.headers["Webhook-Id"] for got in receiver.got}) == len(receiver.got)
        assert all("Webhook-Signature" in got.headers for got in receiver.got)
        by_command = [json.loads(line) for line in told.read_text().splitlines()]
        assert sorted(by_command, key=str) == sorted(by_webhook, key=str)
        events = [e.detail for e in web.deployments.ledger("web") if e.event == "scaled"]
        assert [(e["from"], e["to"]) for e in events] == [each[:2] for each in through[:-1]]

        count = len(through)
        after = ("inferry_deployment_hooks_total", "web", "command", "after", "ok")
        eventually(lambda: metrics(port).get(after) == count)
        found = metrics(port)
        for moment in ("before", "after"):
            for kind in ("webhook", "command"):
                key = ("inferry_deployment_hooks_total", "web", kind, moment, "ok")
                assert found[key] == count
        assert found["inferry_deployment_state", "web", "running"] == 1
        assert found["inferry_deployment_tick_duration_seconds_count", "web"] > 0
        ups = [v for k, v in found.items() if k[0].endswith("changes_total") and k[-1] == "up"]
        assert sum(ups) == sum(int(str(each[1])) > int(str(each[0])) for each in through)
        assert request(f"http://127.0.0.1:{port}/healthz")[0] == 200

        def scale() -> tuple[object, ...]:
            found = json.loads(request(f"http://127.0.0.1:{port}/scale/web")[1])
            return found["wanted"], found["ready"], found["value"]

        eventually(lambda: scale() == (1, 1, 0))  # what is in flight is heard of later
        eventually(lambda: "after webhook  ok in" in cli("deployment", "show", "web").stdout)
        assert "c2VjcmV0" not in cli("deployment", "show", "web").stdout + up.log

        # "Not now", by hand, and then by a hook that is gone.
        receiver.says = [Say(409, b"a backup runs", {"Retry-After": "2"})]
        assert cli("deployment", "scale", "web", "2").code == 0
        why = "1 -> 2 replicas: put off by the hook before it: a backup runs"
        eventually(lambda: why in cli("deployment", "show", "web").stdout)
        assert ready() == 1
        receiver.says = [Say(404)]
        eventually(lambda: ready() == 2, 120)
        assert cli("deployment", "delete", "web", "--wait").code == 0


def _said(up: Server, words: str) -> str:
    """What it said behind these words."""
    assert up.process.poll() is None, up.log
    return up.log.partition(words)[2].partition("\n")[0]


def _url(web: Workspace) -> str:
    observed = web.deployments.get("web").observed
    is_running = observed is not None and observed.state == "running"
    return (observed.url or "") if observed is not None and is_running else ""
