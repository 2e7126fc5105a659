"""``inferry deploy``, ``up``, ``logs`` and ``score NAME``: with a controller, real and made up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from edge.hosts.containers import DockerHost
from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import Deployment, Observed, Replica, Share
from runtime.balance.balancer import Balancer
from runtime.balance.errors import StartError
from runtime.cli.deployment_logs import news
from runtime.cli.up import News
from runtime.deployments.controller import only_controller
from runtime.deployments.engines import workspace_mark
from runtime.deployments.here import balancer_folder
from runtime.deployments.outcome import Outcome, outcome
from runtime.deployments.stock import WorkspaceStock
from tests.engine import Engine, program
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.deployments.waiting import eventually
from tests.runtime.server import ROOT, Server, train_digits

AT_ONCE = ("--step", "100", "--step-s", "0")


# How a declaration came out.


def seen(
    images: Workspace,
    state: str,
    cause: str | None = None,
    *,
    traffic: int | None = 2,
    before: int = 0,
    replicas: tuple[Replica, ...] = (),
) -> Deployment:
    """``web``, whose goal is revision 2, as a controller saw it ``before`` changes ago."""
    deployments = images.deployments
    if not deployments.list():
        deployments.create("web", "adder:1", actor="a")
        deployments.update("web", image="adder:2", actor="a")
    if traffic is not None:
        deployments.set_traffic("web", [Share(traffic, 100.0)], actor="a")
    change = deployments.get("web").change - before
    url = "http://127.0.0.1:1/score"
    observed = Observed(state, cause, url, change, replicas, "2026-11-27T00:00:00Z")  # type: ignore[arg-type]
    deployments.observe("web", observed)
    return deployments.get("web")


def test_a_declaration_is_done_when_its_goal_has_the_traffic(images: Workspace) -> None:
    found = seen(images, "running")
    assert outcome(found, found.change) == Outcome()
    found = seen(images, "running", traffic=1)
    assert outcome(found, found.change) is None
    found = seen(images, "updating", "revision 2 has 20 % of the traffic")
    assert outcome(found, found.change) is None
    found = seen(images, "degraded", "1 of 2 replicas do not answer")
    assert outcome(found, found.change) is None


def test_what_was_seen_before_the_change_says_nothing(images: Workspace) -> None:
    for state in ("running", "failed"):
        found = seen(images, state, before=1)
        assert outcome(found, found.change) is None


def test_a_failure_and_a_revision_that_was_taken_back_are_failures(images: Workspace) -> None:
    found = seen(images, "failed", "it ended with exit code 1")
    assert outcome(found, found.change) == Outcome("it ended with exit code 1")
    cause = "revision 2 was taken back: it ended"
    found = seen(images, "running", cause, traffic=1)
    assert outcome(found, found.change) == Outcome(cause)
    found = seen(images, "running", "revision 1 was taken back: long ago", traffic=1)
    assert outcome(found, found.change) is None


def test_waiting_ends_with_the_cause_and_the_last_words(cli: Cli, images: Workspace) -> None:
    replica = Replica("web.2.aa", 2, "failed", cause="it ended", log="Traceback\nKeyError: \x1b[2J")
    seen(images, "failed", "it ended with exit code 1", replicas=(replica,))
    with only_controller(images.root):  # somebody else's, which sees nothing new
        done = cli("deployment", "update", "web", "--wait", "--timeout-s", "20")
    assert (done.code, done.stdout) == (1, "")
    assert "inferry: web: it ended with exit code 1\n" in done.stderr
    assert "KeyError" in done.stderr
    assert "\x1b" not in done.stderr
    (activity,) = images.activities.list(kind="deployment")
    assert (activity.subject, activity.state) == ("web", "failed")


def test_waiting_ends_after_its_time(cli: Cli, images: Workspace) -> None:
    seen(images, "updating", "revision 2 starts")
    with only_controller(images.root):
        for words in (["update", "web"], ["rollback", "web", "2"], ["delete", "web"]):
            done = cli("deployment", *words, "--wait", "--timeout-s", "0.1")
            assert (done.code, "after 0.1 s" in done.stderr) == (1, True)


def test_waiting_can_be_cancelled_from_elsewhere(cli: Cli, images: Workspace) -> None:
    seen(images, "updating", "revision 2 starts")

    def cancel() -> None:
        found = eventually(lambda: images.activities.list(kind="deployment", running_only=True))
        images.activities.cancel(found[0].id)

    thread = threading.Thread(target=cancel)
    thread.start()
    with only_controller(images.root):
        done = cli("deployment", "update", "web", "--wait", "--timeout-s", "60")
    thread.join()
    assert (done.code, "cancelled" in done.stderr) == (1, True)
    assert images.deployments.get("web").is_wanted


def test_no_haproxy_is_said_in_a_line(
    cli: Cli, images: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("runtime.deployments.here.haproxy_program", lambda: None)
    for words in (["deploy", "web", "--image", "adder:1"], ["up"]):
        done = cli(*words)
        assert (done.code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "apt-get install haproxy" in done.stderr
    assert [each.name for each in images.deployments.list()] == ["web"]  # it stays declared
    with only_controller(images.root, wait_s=0) as is_free:
        assert is_free


def test_devices_are_waited_for_as_others_and_have_no_url(cli: Cli, images: Workspace) -> None:
    cli("target", "attach", "site", "--kind", "edge", "--set", "condition=true")
    declare = ("deploy", "web", "--image", "adder:1", "--target", "site")
    with only_controller(images.root):  # somebody else's, which sees nothing new
        done = cli(*declare, "--timeout-s", "0.1")
        assert (done.code, "is not as declared after 0.1 s" in done.stderr) == (1, True)
        images.deployments.set_traffic("web", [Share(1, 100.0)], actor="a")
        change = images.deployments.get("web").change
        seen = Observed("running", "on 2 of 2 devices", None, change, (), "2026-11-27T00:00:00Z")
        images.deployments.observe("web", seen)
        done = cli("deployment", "update", "web", "--wait", "--timeout-s", "20")
    assert (done.code, done.stdout) == (0, "web is running: on 2 of 2 devices\n"), done.stderr


# One controller.


class FakeController:
    """Says of every deployment that it is ``state``, until it is stopped."""

    def __init__(self, workspace: Workspace, state: str, failure: Exception | None) -> None:
        self._workspace, self._state, self._failure = workspace, state, failure
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stopping.is_set()

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.wait(0.01):
            if self._failure is not None:
                raise self._failure
            for each in self._workspace.deployments.list():
                if each.observed is None or each.observed.state != self._state:
                    seen(self._workspace, self._state, traffic=each.goal)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``fake("running")``: what takes the controller's place."""
    program("haproxy")

    def put(state: str, failure: Exception | None = None) -> None:
        def controller_of(workspace: Workspace, **_: object) -> FakeController:
            return FakeController(workspace, state, failure)

        monkeypatch.setattr("runtime.deployments.here.controller_of", controller_of)

    return put


def test_a_command_that_waits_stands_in_for_a_controller_that_ends(
    cli: Cli, images: Workspace, fake: Callable[..., None]
) -> None:
    fake("running")
    with contextlib.ExitStack() as other:
        other.enter_context(only_controller(images.root))
        timer = threading.Timer(0.5, other.close)
        timer.start()
        done = cli("deploy", "web", "--image", "adder:1", "--timeout-s", "30")
        timer.join()
    assert (done.code, done.stdout) == (0, "http://127.0.0.1:1/score\n"), done.stderr
    assert "nothing keeps it running" in done.stderr
    with only_controller(images.root, wait_s=0) as is_free:
        assert is_free


def test_what_ends_the_controller_ends_the_command(
    cli: Cli, images: Workspace, fake: Callable[..., None]
) -> None:
    fake("starting", StartError("HAProxy is gone"))
    for words in (["deploy", "web", "--image", "adder:1"], ["up"]):
        done = cli(*words)
        assert (done.code, done.stderr.splitlines()[-1]) == (1, "inferry: HAProxy is gone")
    with only_controller(images.root, wait_s=0) as is_free:
        assert is_free


def test_a_deployment_is_printed_whole_for_programs(
    cli: Cli, images: Workspace, fake: Callable[..., None]
) -> None:
    fake("running")
    done = cli("deploy", "web", "--image", "adder:1", "-o", "json")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["state"], found["url"]) == ("running", "http://127.0.0.1:1/score")
    assert "is running" not in done.stderr


def test_a_second_controller_waits_and_says_so(cli: Cli, tmp_path: Path) -> None:
    with only_controller(tmp_path / ".inferry"):
        done = cli("up", "--wait-s", "0.1")
    assert (done.code, "waiting for its end" in done.stdout) == (1, True)
    assert "0.1 s" in done.stderr


def test_a_controller_that_waits_is_told_to_stop(cli: Cli, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def stop_it() -> None:
        eventually(lambda: signal.getsignal(signal.SIGTERM) is not before, 60)
        os.kill(os.getpid(), signal.SIGTERM)  # which would end us all, came it before

    with only_controller(tmp_path / ".inferry"):
        thread = threading.Thread(target=stop_it)
        thread.start()
        done = cli("up")
        thread.join()
    assert (done.code, "Keeping" in done.stdout) == (0, False)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_fails_again_and_again_is_told_once_a_minute() -> None:
    news = News()
    lines = ["web failed: it ended", "web failed: it does not answer", "web failed: it ended"]
    assert [news.is_new(line, 1.0) for line in lines] == [True, False, False]
    assert news.is_new("other failed: it ended", 1.0)
    assert news.is_new("web failed: it ended", 62.0)
    for line in ("web degraded: 1 of 2", "web running", "web failed: it ended", "web running"):
        assert news.is_new(line, 62.0)
    assert [news.is_new("a warning", now_s) for now_s in (62.0, 63.0, 123.0)] == [True, False, True]


def test_each_step_of_a_rollout_is_told() -> None:
    news = News()
    lines = [f"web updating: revision 2 has {share} % of the traffic" for share in (5, 25, 100)]
    assert all(news.is_new(line, 1.0) for line in lines)


# Logs.


def test_new_lines_of_a_log_are_told_once() -> None:
    assert news([], ["a"]) == ["a"]
    assert news(["a"], ["a"]) == []
    assert news(["a", "b"], ["a", "b", "c"]) == ["c"]
    assert news(["a", "b", "c"], ["b", "c", "d"]) == ["d"]
    assert news(["a", "a"], ["a", "a", "a"]) == ["a"]
    assert news(["a", "b"], ["x", "y"]) == ["x", "y"]
    assert news(["a", "b"], []) == []


def test_logs_are_read_of_the_replicas_that_there_are(cli: Cli, images: Workspace) -> None:
    both = (Replica("web.1.aa", 1, "ready"), Replica("web.2.bb", 2, "starting"))
    seen(images, "running", replicas=both)
    runs = images.root / "deployments" / "processes" / "local" / "run"
    for replica in both:
        (runs / f"{replica.id}.live").mkdir(parents=True)
        (runs / f"{replica.id}.live" / "log").write_text(f"old\n{replica.id[-2:]} \x1b[2J\nlast")
    done = cli("deployment", "logs", "web", "--lines", "2")
    assert done.stdout.splitlines() == [
        *("web.1.aa | aa \\x1b[2J", "web.1.aa | last"),
        *("web.2.bb | bb \\x1b[2J", "web.2.bb | last"),
    ]
    done = cli("deployment", "logs", "web", "--replica", "web.2.bb", "--lines", "1")
    assert done.stdout == "last\n"
    for id in ("web.1.cc", "../../x", "\x1b[2J"):
        done = cli("deployment", "logs", "web", "--replica", id)
        assert (done.code, done.stderr.count("\n"), "\x1b" in done.stderr) == (1, 1, False)
        assert "web.1.aa" in done.stderr


def test_a_log_is_followed_until_the_deployment_is_gone(
    cli: Cli, images: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cli.deployment_logs.LOOK_EVERY_S", 0.02)
    seen(images, "running", replicas=(Replica("web.2.bb", 2, "ready"),))
    log = images.root / "deployments/processes/local/run/web.2.bb.live/log"
    log.parent.mkdir(parents=True)
    log.write_text("first\nhal")

    def go_on() -> None:
        log.write_text("first\nhalf\nlast\n")
        threading.Event().wait(1.0)  # many looks
        images.deployments.delete("web", actor="a")
        images.deployments.forget("web")

    timer = threading.Timer(0.2, go_on)
    timer.start()
    done = cli("deployment", "logs", "web", "-f")
    timer.join()
    assert done.stdout.splitlines() == [f"web.2.bb | {line}" for line in ("first", "half", "last")]
    assert (done.code, "gone" in done.stderr) == (0, True)


# Scoring by name.


def test_a_name_is_scored_only_where_it_has_a_url(cli: Cli, images: Workspace) -> None:
    Path("in.json").write_text("{}")
    done = cli("score", "web", "--data", "in.json")
    assert (done.code, "no deployment 'web'" in done.stderr) == (1, True)
    images.deployments.create("web", "adder:1", actor="a")
    done = cli("score", "web", "--data", "in.json")
    assert (done.code, "no URL" in done.stderr) == (1, True)
    for where in ("", "a.b", "Web", "127.0.0.1:80", "../web", "\x1b[2J", "x" * 33):
        done = cli("score", "--data", "in.json", "--", where)
        assert (done.code, "no http:// or https:// URL" in done.stderr) == (1, True), where


# The real thing.


@contextlib.contextmanager
def removed(root: Path) -> Iterator[None]:
    """Nothing is left behind, whatever happens within."""
    program("haproxy")
    try:
        yield
    finally:
        host = ProcessHost(root / "deployments" / "processes" / "local", WorkspaceStock(root))
        for found in host.list():
            host.stop(found.id, 1.0)
        folder = balancer_folder(root)
        with Balancer(folder) as balancer:
            balancer.stop(1.0)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_from_an_image_to_answers_to_an_update_and_back_to_nothing(
    cli: Cli, tmp_path: Path
) -> None:
    train_digits(tmp_path)
    held_out = json.loads(Path("held_out.json").read_text())
    Path("digits.json").write_text(json.dumps({"data": held_out["pixels"][:3]}))
    script = str(ROOT / "examples/digits/score.py")
    assert cli("model", "register", "model.onnx", "--name", "digits").code == 0
    words = ("image", "create", "digits", "--model", "digits", "--script", script, "--no-proof")
    assert cli(*words).code == 0

    with removed(tmp_path / ".inferry"):
        # Without inferry up, the command is the controller until it runs.
        done = cli("deploy", "web", "--image", "digits", "--keys", *AT_ONCE)
        assert done.code == 0, done.stderr
        url = done.stdout.strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/score", url)
        assert "web is running" in done.stderr
        assert "inferry up" in done.stderr

        done = cli("score", "web", "--data", "digits.json")
        assert json.loads(done.stdout)["predictions"] == held_out["labels"][:3], done.stderr
        done = cli("score", url, "--data", "digits.json")
        assert (done.code, "HTTP 401" in done.stderr) == (1, True)
        assert "Listening on" in cli("deployment", "logs", "web").stdout

        bad = ("--env", "PYTHONHASHSEED=no number")
        done = cli("deploy", "bad", "--image", "digits", *bad)
        assert (done.code, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1].startswith("inferry: bad: ")
        assert "Fatal Python error" in done.stderr  # its last words
        assert cli("deployment", "delete", "bad", "--wait").code == 0

        # With it, commands only declare and wait.
        up = Server(["inferry", "up"], cwd=tmp_path)
        try:
            eventually(lambda: "Keeping the deployments" in up.log)
            done = cli("deployment", "update", "web", "--env", "A=1", "--wait")
            assert (done.code, done.stdout.strip()) == (0, url), done.stderr
            assert "inferry up" not in done.stderr
            done = cli("deployment", "update", "web", *bad, "--wait")
            assert (done.code, "revision 3 was taken back" in done.stderr) == (1, True)
            assert "PYTHONHASHSEED" in done.stderr
            done = cli("deployment", "rollback", "web", "1", "--wait")
            assert (done.code, done.stdout.strip()) == (0, url), done.stderr
            assert cli("score", "web", "--data", "digits.json").code == 0
            assert "web updating" in up.log
        finally:
            assert up.stop() == 0
        assert cli("score", "web", "--data", "digits.json").code == 0  # what runs goes on

        assert cli("deployment", "delete", "web", "--wait").code == 0
        assert json.loads(cli("deployment", "list", "-o", "json").stdout) == []
        assert cli("score", url, "--data", "digits.json").code == 1
        events = json.loads(cli("deployment", "ledger", "web", "-o", "json").stdout)
        assert [each["event"] for each in events if each["actor"] != "controller"] == [
            *("created", "updated", "updated", "rolled back", "deleted")
        ]


@pytest.mark.slow
@pytest.mark.engine
def test_containers_are_deployed_and_their_logs_read(
    cli: Cli, tmp_path: Path, engine: Engine, debian_base: Path
) -> None:
    root = tmp_path / ".inferry"
    workspace = Workspace.open(root)
    assert cli("init", "--base", str(debian_base)).code == 0
    workspace.models.register(adder(tmp_path / "m.onnx"), name="adder")
    workspace.images.create("box", models=["adder"], proof=False)
    cli("target", "attach", "engine", "--kind", "docker")
    Path("in.json").write_text('{"x": [[1, 2, 3]]}')
    try:
        with removed(root):
            done = cli("deploy", "web", "--image", "box", "--target", "engine")
            assert done.code == 0, done.stderr
            done = cli("score", "web", "--data", "in.json")
            assert json.loads(done.stdout) == {"y": [[2, 3, 4]]}, done.stderr
            assert "Listening on" in cli("deployment", "logs", "web").stdout
            assert cli("deployment", "delete", "web", "--wait").code == 0
    finally:
        host = DockerHost(f"ws-{workspace_mark(root)}-engine", WorkspaceStock(root))
        with contextlib.closing(host):
            left = host.list()
            for each in left:
                host.stop(each.id, 1.0)
            host.discard([])
    assert left == []
