"""The controller with real processes and a real HAProxy."""

from __future__ import annotations

import concurrent.futures
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import (
    Autoscale,
    RevisionSettings,
    Rollout,
    ServiceSettings,
    Share,
)
from runtime.deployments.publication import free_port
from runtime.deployments.unit import ReplicaUnit
from tests.runtime.balance.conftest import haproxies
from tests.runtime.deployments.controlled import SERVICE, SETTINGS, controlled, removed
from tests.runtime.deployments.waiting import cause_of, eventually, score, state, url_port

pytestmark = pytest.mark.slow


def test_from_declared_to_answers_to_a_new_revision_to_nothing(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="ada")
    with removed(made, host, folder), controlled(made, host, folder):
        port = url_port(eventually(lambda: state(made, "running")))
        assert score("127.0.0.1", port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}

        made.deployments.update("web", image="adder:2", actor="ada")
        answers: set[float] = set()

        def is_over() -> bool:
            answers.add(score("127.0.0.1", port, [[1, 2, 3]])["y"][0][0])
            found = state(made, "running")
            return found is not None and [s.revision for s in found.traffic] == [2]

        eventually(is_over)
        assert answers == {2, 3}
        made.deployments.set_traffic("web", [Share(2, 50), Share(1, 50)], actor="ada")
        answers.clear()
        eventually(lambda: is_over() or answers == {2, 3})
        assert {s.revision: s.percent for s in made.deployments.get("web").traffic} == {
            1: 50,
            2: 50,
        }
        made.deployments.set_traffic("web", [Share(2, 100)], actor="ada")
        eventually(lambda: [each.id.module.split(".")[1] for each in host.list()] == ["2"])

        made.deployments.delete("web", actor="ada")
        eventually(lambda: not made.deployments.list())
        assert list(host.list()) == []
        eventually(lambda: not haproxies(folder))
        with socket.create_server(("127.0.0.1", port)):
            pass
        events = [entry.event for entry in made.deployments.ledger("web")]
        assert events[0] == "created"
        assert events[-1] == "deleted"
        assert "rollout finished" in events


def test_haproxy_goes_with_the_last_deployment_and_comes_back_with_the_next(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    with removed(made, host, folder):
        with controlled(made, host, folder):
            for name in ("one", "two"):
                assert not haproxies(folder)
                made.deployments.create(
                    name, "adder:1", service=SERVICE, settings=SETTINGS, actor="a"
                )
                found = eventually(lambda name=name: state(made, "running", name))  # type: ignore[misc]
                assert score("127.0.0.1", url_port(found), [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
                made.deployments.delete(name, actor="a")
                eventually(lambda: not made.deployments.list() and not haproxies(folder))
        assert not folder.exists()


def test_haproxy_shows_its_metrics_where_it_is_asked_to(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    port = free_port("127.0.0.1")
    with removed(made, host, folder), controlled(made, host, folder, ("127.0.0.1", port)):
        eventually(lambda: state(made, "running"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    assert 'haproxy_frontend_status{proxy="web",state="UP"} 1' in page


def test_metrics_that_cannot_be_shown_keep_no_deployment_from_running(
    made: Workspace, host: ProcessHost, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = "127.0.0.1", taken.getsockname()[1]
        with removed(made, host, folder), controlled(made, host, folder, metrics):
            found = eventually(lambda: state(made, "running"))
            assert score("127.0.0.1", url_port(found), [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
    assert "HAProxy's metrics are left out" in caplog.text


def test_a_controller_that_ends_just_after_the_last_deployment_leaves_no_haproxy(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    with removed(made, host, folder):
        with controlled(made, host, folder):
            eventually(lambda: state(made, "running"))
            made.deployments.delete("web", actor="a")
            while made.deployments.list():
                time.sleep(0.001)
        assert not haproxies(folder)
        assert not folder.exists()


def test_the_next_controller_keeps_ports_open_whose_record_is_damaged(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    with removed(made, host, folder):
        with controlled(made, host, folder):
            port = url_port(eventually(lambda: state(made, "running")))
        (folder / "layout.json").write_text("{")
        with controlled(made, host, folder):

            def is_looked_at() -> bool:
                assert score("127.0.0.1", port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
                return (folder / "layout.json").read_text() != "{"

            eventually(is_looked_at)
            for _ in range(20):
                assert score("127.0.0.1", port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}


def test_a_bad_release_is_taken_back_and_the_old_one_answers_on(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="ada")
    with removed(made, host, folder), controlled(made, host, folder):
        port = url_port(eventually(lambda: state(made, "running")))
        bad = RevisionSettings({"PYTHONHASHSEED": "no number"}, health=SETTINGS.health)
        made.deployments.update("web", settings=bad, actor="ada")

        def taken_back() -> str:
            assert score("127.0.0.1", port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
            found = state(made, "running")
            return "" if found is None else cause_of(found)

        cause = eventually(taken_back)
        assert "revision 2 was taken back: it ended with exit code 1" in cause
        assert "PYTHONHASHSEED" in cause
        eventually(lambda: [each.id.module.split(".")[1] for each in host.list()] == ["1"])
        assert [s.revision for s in made.deployments.get("web").traffic] == [1]
        assert made.deployments.ledger("web")[-1].event == "rollout taken back"

        made.deployments.rollback("web", None, actor="ada")
        eventually(lambda: (found := state(made, "running")) and found.goal == 1)


def test_the_next_controller_goes_on_and_nobody_noticed(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="ada")
    with removed(made, host, folder):
        with controlled(made, host, folder):
            port = url_port(eventually(lambda: state(made, "running")))
            before = host.list()
        assert score("127.0.0.1", port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
        made.deployments.update("web", image="adder:2", actor="ada")
        with controlled(made, host, folder):

            def is_over() -> bool:
                score("127.0.0.1", port, [[1, 2, 3]])
                found = state(made, "running")
                return found is not None and [s.revision for s in found.traffic] == [2]

            assert before[0].started_at_s in [each.started_at_s for each in host.list()]
            eventually(is_over)


def test_nobody_asks_and_none_runs_somebody_asks_and_is_answered(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    service = ServiceSettings(
        least_replicas=0, most_replicas=2, autoscale=Autoscale(zero_after_s=1.0, down_after_s=0.5)
    )
    made.deployments.create("web", "adder:1", service=service, settings=SETTINGS, actor="ada")
    with removed(made, host, folder), controlled(made, host, folder):
        port = url_port(eventually(lambda: state(made, "running")))
        eventually(lambda: not host.list())
        assert state(made, "running") is not None
        assert score("127.0.0.1", port, [[1, 2, 3]])["y"][0][0] == 2
        events = [e.detail for e in made.deployments.ledger("web") if e.event == "scaled"]
        assert [(each["from"], each["to"]) for each in events[:2]] == [(1, 0), (0, 1)]


SECRETIVE = """
import os
from pathlib import Path

def init():
    pass

def run(data):
    return Path(os.environ["INFERRY_SECRETS"], "token").read_text()
"""


def test_a_script_reads_its_secret_from_a_file(
    made: Workspace, host: ProcessHost, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(SECRETIVE)
    made.images.create("teller", models=["adder"], script=tmp_path / "score.py")
    settings = RevisionSettings(secrets=("token",), health=SETTINGS.health)
    secrets = {"token": b"open sesame", "other": b"of another revision"}
    made.deployments.create(
        "web", "teller", service=SERVICE, settings=settings, secrets=secrets, actor="a"
    )
    with removed(made, host, folder), controlled(made, host, folder):
        port = url_port(eventually(lambda: state(made, "running")))
        assert score("127.0.0.1", port, [[1]]) == "open sesame"
        files = list((made.root / "deployments" / "secrets").rglob("*"))
        assert [path.name for path in files if path.is_file()] == ["token"]
        made.deployments.delete("web", actor="a")
        eventually(lambda: not made.deployments.list())
        assert not any(path.is_file() for path in files)


SLOW = """
import os
import time

def init():
    pass

def run(data):
    time.sleep(float(os.environ["SECONDS"]))
    return 1
"""


def test_a_slower_release_is_taken_back_by_its_latency(
    made: Workspace, host: ProcessHost, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(SLOW)
    made.images.create("sleeper", models=["adder"], script=tmp_path / "score.py")

    def settings(seconds: str) -> RevisionSettings:
        return RevisionSettings({"SECONDS": seconds}, health=SETTINGS.health)

    service = ServiceSettings(rollout=Rollout(steps=(50.0, 100.0), step_s=60.0))
    made.deployments.create(
        "web", "sleeper", service=service, settings=settings("0.001"), actor="a"
    )
    with removed(made, host, folder), controlled(made, host, folder):
        port = url_port(eventually(lambda: state(made, "running")))
        made.deployments.update("web", settings=settings("0.1"), actor="a")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:

            def taken_back() -> str:
                list(pool.map(lambda _: score("127.0.0.1", port, [[1]]), range(40)))
                found = state(made, "running")
                return "" if found is None else cause_of(found)

            cause = eventually(taken_back)
        # Which of the two says so first depends on how the answers come in.
        assert "of the revision before it" in cause
        assert "p99" in cause or "median" in cause
        assert [s.revision for s in made.deployments.get("web").traffic] == [1]


def test_the_next_controller_opens_no_service_without_the_replicas_that_run(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="ada")
    with removed(made, host, folder):
        with controlled(made, host, folder):
            eventually(lambda: state(made, "running"))
        unit = ReplicaUnit("web", made.deployments, host)
        try:
            for number in range(600):
                unit.tick(number / 100, None)
                if unit.is_known:
                    break
                time.sleep(0.01)
            assert unit.service is not None
            assert [len(version.replicas) for version in unit.service.versions] == [1]
        finally:
            unit.close()
