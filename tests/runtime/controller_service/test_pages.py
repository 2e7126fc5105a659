from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from registry import Workspace
from registry.deployments import (
    Autoscale,
    Deployments,
    Observed,
    Replica,
    RevisionSettings,
    ServiceSettings,
    Share,
)
from registry.errors import WorkspaceDamagedError
from runtime.balance.balancer import ServiceState
from runtime.controller_service.health import ENDED_S, STILL_S, stuck
from runtime.controller_service.pages import Pages
from runtime.deployments.figures import ControllerFigures, Glance, TickFigures, UnitFigures
from runtime.deployments.memory import Memory, memory_text
from runtime.hooks.listener import ChangeFigures
from runtime.hooks.running import HookFigures
from tests.registry.onnx_files import adder

NOW_S = 1000.0
UNIT = UnitFigures(
    wanted={1: 3, 2: 1},
    scale=3,
    in_flight=5.0,
    queue_s=0.25,
    changes=ChangeFigures(
        {("more", "up"): 2, ("fewer", "down"): 1},
        {"done": 2, "replaced": 1},
        HookFigures(
            {("before", "webhook", "ok"): 2, ("before", "webhook", "not_now"): 1},
            {("before", "webhook"): 1.5},
        ),
    ),
)
GLANCE = Glance(TickFigures(NOW_S - 0.5, 10, 0.25), UNIT, ServiceState("web", (), 4, 100))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """``web``, of two revisions, as a controller left it; and ``quiet``, which none has seen."""
    folder: Path = tmp_path_factory.mktemp("pages")
    workspace = Workspace.init(folder / "ws", base="none")
    workspace.models.register(adder(folder / "m.onnx"), name="adder")
    workspace.images.create("adder", models=["adder"], proof=False)
    service = ServiceSettings(least_replicas=1, most_replicas=5, autoscale=Autoscale(in_flight=2.0))
    deployments = workspace.deployments
    deployments.create("web", "adder:1", service=service, actor="a")
    deployments.create("quiet", "adder:1", actor="a")
    deployments.update("web", settings=_with_workers(deployments), actor="a")
    deployments.set_traffic("web", [Share(1, 95), Share(2, 5), Share(2, 0)][:2], actor="a")
    for event in ("rollout finished", "rollout taken back", "rollout finished", "scaled"):
        deployments.note("web", event, {}, actor="controller")
    replicas = [Replica(f"web.1.{n}", 1, "ready") for n in "ab"]
    replicas.append(Replica("web.1.c", 1, "starting"))
    deployments.observe(
        "web",
        Observed("updating", None, None, 1, tuple(replicas), "", memory_text(Memory(scale=3))),
    )
    return workspace


def _with_workers(deployments: Deployments) -> RevisionSettings:
    found = deployments.get("web")
    return msgspec.structs.replace(found.revision(1).settings, workers=2)


def pages(made: Workspace, **glances: Glance) -> Pages:
    figures = ControllerFigures(NOW_S - 60, NOW_S - 1, 2, glances)
    return Pages(made.deployments, lambda: figures, clock=lambda: NOW_S)


def samples(made: Workspace, **glances: Glance) -> dict[tuple[str, ...], float]:
    page = pages(made, **glances).page("/metrics")
    assert page.status == 200
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(page.body.decode()):
        assert family.documentation
        assert family.type in ("gauge", "counter", "summary")
        for sample in family.samples:
            labels = [value for _, value in sorted(sample.labels.items())]
            key = (sample.name, *labels)
            assert key not in found
            found[key] = sample.value
    return found


def test_metrics_say_all_that_is_known_of_a_deployment(made: Workspace) -> None:
    found = samples(made, web=GLANCE)
    for key, value in {
        ("inferry_controller_uptime_seconds",): 60,
        ("inferry_controller_balancer_age_seconds",): 1,
        ("inferry_controller_haproxy_restarts_total",): 2,
        ("inferry_deployment_state", "web", "updating"): 1,
        ("inferry_deployment_state", "web", "running"): 0,
        ("inferry_deployment_replicas_wanted", "web", "1"): 3,
        ("inferry_deployment_replicas_wanted", "web", "2"): 1,
        ("inferry_deployment_replicas_ready", "web", "1"): 2,
        ("inferry_deployment_replicas_ready", "web", "2"): 0,
        ("inferry_deployment_traffic_ratio", "web", "1"): 0.95,
        ("inferry_deployment_traffic_ratio", "web", "2"): 0.05,
        ("inferry_deployment_scale_replicas", "web"): 3,
        ("inferry_deployment_scale_replicas_min", "web"): 1,
        ("inferry_deployment_scale_replicas_max", "web"): 5,
        ("inferry_deployment_requests_held", "web"): 4,
        ("inferry_deployment_requests_in_flight", "web"): 0,
        ("inferry_deployment_queue_seconds", "web"): 0.25,
        ("inferry_deployment_scale_changes_total", "more", "web", "up"): 2,
        ("inferry_deployment_scale_changes_ended_total", "web", "done"): 2,
        ("inferry_deployment_hooks_total", "web", "webhook", "before", "not_now"): 1,
        ("inferry_deployment_hook_duration_seconds_sum", "web", "webhook", "before"): 1.5,
        ("inferry_deployment_hook_duration_seconds_count", "web", "webhook", "before"): 3,
        ("inferry_deployment_tick_duration_seconds_count", "web"): 10,
        ("inferry_deployment_tick_duration_seconds_sum", "web"): 0.25,
        ("inferry_deployment_tick_age_seconds", "web"): 0.5,
        ("inferry_deployment_rollouts_total", "web", "finished"): 2,
        ("inferry_deployment_rollouts_total", "web", "taken_back"): 1,
        ("inferry_deployment_rollouts_total", "quiet", "finished"): 0,
    }.items():
        assert found[key] == value, key


def test_what_is_not_known_is_left_out_and_not_0(made: Workspace) -> None:
    found = samples(made)
    assert ("inferry_deployment_state", "quiet", "unknown") in found
    assert not any("tick_age" in key[0] or "requests" in key[0] for key in found)
    assert not any(key[0].endswith(("wanted", "scale_replicas")) for key in found if "quiet" in key)


def test_names_follow_the_rules_of_the_field(made: Workspace) -> None:
    page = pages(made, web=GLANCE).page("/metrics").body.decode()
    assert page.endswith("\n")
    for family in text_string_to_metric_families(page):
        assert family.name.startswith(("inferry_controller_", "inferry_deployment_"))
        if family.type == "counter":
            assert {s.name for s in family.samples} <= {f"{family.name}_total"}
        assert not family.name.endswith(("_ms", "_s", "_milliseconds", "_percent"))


def test_rollouts_are_counted_on_where_they_were_read_to(made: Workspace) -> None:
    one = pages(made, web=GLANCE)
    one.page("/metrics")
    made.deployments.note("quiet", "rollout finished", {}, actor="controller")
    line = 'inferry_deployment_rollouts_total{deployment="quiet",outcome="finished"} 1.0'
    assert line in one.page("/metrics").body.decode()


def test_scale_is_json_that_keda_can_point_into(made: Workspace) -> None:
    page = pages(made, web=GLANCE).page("/scale/web?x=1")
    assert (page.status, page.content_type) == (200, "application/json")
    assert json.loads(page.body) == {
        "v": 1,
        "deployment": "web",
        "state": "updating",
        "wanted": 3,
        "ready": 2,
        "min": 1,
        "max": 5,
        "in_flight": 0,
        "held": 4,
        "queue_s": 0.25,
        "value": 4,
        "target": 2.0,
    }
    unknown = json.loads(pages(made).page("/scale/quiet").body)
    assert (unknown["wanted"], unknown["value"], unknown["held"]) == (None, None, None)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/scale",
        "/scale/",
        "/scale/none",
        "/scale/Web",
        "/scale/web/",
        "/scale/../web",
        "/scale/%77eb",
        "/scale/web\r\nX-Evil: 1",
        "/scale/" + "a" * 5000,
        "//metrics",
        "http://other/metrics",
        "",
    ],
)
def test_any_other_path_is_not_found(made: Workspace, path: str) -> None:
    page = pages(made).page(path)
    assert page.status == 404
    assert "error" in json.loads(page.body)


def test_health_names_what_stands_still(made: Workspace) -> None:
    assert pages(made, web=GLANCE).page("/healthz").status == 200
    still = Glance(TickFigures(NOW_S - 300, 10, 0.25))
    page = pages(made, web=GLANCE, slow=still).page("/healthz")
    assert page.status == 503
    assert json.loads(page.body)["stuck"] == ["slow was not looked at for 300 s"]


def test_what_stands_still() -> None:
    assert stuck({"a": (True, STILL_S)}, STILL_S) == []
    assert stuck({}, STILL_S + 1) == ["the balancer was not looked at for 121 s"]
    assert stuck({"a": (False, ENDED_S)}, 0) == []
    assert stuck({"a": (False, ENDED_S + 1)}, 0) == ["a: its thread ended"]


def test_a_workspace_that_cannot_be_read_is_503_without_its_path(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise WorkspaceDamagedError("/srv/secret/workspace.db is no database")

    monkeypatch.setattr(made.deployments, "list", broken)
    monkeypatch.setattr(made.deployments, "get", broken)
    for path in ("/metrics", "/scale/web"):
        page = pages(made).page(path)
        assert page.status == 503
        assert b"secret" not in page.body
    assert pages(made).page("/healthz").status == 200


def test_families_of_others_follow(made: Workspace) -> None:
    figures = ControllerFigures(NOW_S - 60, NOW_S - 0.5, 0, {})
    found = Pages(made.deployments, lambda: figures, more=lambda: b"# TYPE x gauge\nx 1\n")
    names = [each.name for each in text_string_to_metric_families(_text(found))]
    assert names[-1] == "x"
    assert len(set(names)) == len(names)


def _text(found: Pages) -> str:
    return found.page("/metrics").body.decode()
