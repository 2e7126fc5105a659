"""Pipelines by URL, with a real service: killed amid them, beside an inferry up and without one,
and with a step on a Docker Engine."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from runtime.pipelines import DeployStep, Pipeline, pipeline_view
from runtime.pipelines.deploying import DeployRunner
from runtime.pipelines.here import drive, prepare, runners_of
from runtime.pipelines.reading import with_parameters
from tests.engine import Engine, program
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.deployments.waiting import eventually
from tests.runtime.server import Server
from tests.runtime.submission.test_docker import containers

DEADLINE_S = 60.0
QUICK = """
import os
os.makedirs("outputs", exist_ok=True)
open("outputs/x.txt", "w").write("1")
print("quick is done")
"""
SLOW = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.05)
child.kill()
print("slow is done", open(os.environ["INFERRY_INPUT_X"] + "/x.txt").read())
"""
PIPELINE = """
name: two
steps:
  quick: {script: quick.py, folder: code}
  slow: {script: slow.py, folder: code, inputs: {x: quick}, arguments: [SIGN]}
"""
DEPLOYED = """
name: web
steps:
  model: {kind: register, model: adder, files: ./m.onnx}
  image: {kind: image, models: [model], image: adder, proof: false}
  deploy: {kind: deploy, image: image, deployment: web}
"""


class Service:
    """``inferry registry serve`` as its own process, begun as often as it is killed."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self.url = ""
        self._server: Server | None = None

    def begin(self) -> None:
        port = self.url.rpartition(":")[2] or "0"
        command = ["inferry", "registry", "serve", "-w", str(self._root), "--port", port]
        self._server = server = Server(command, cwd=self._folder)
        eventually(lambda: re.search(r"ready at http://\S+:\d+$", server.log, re.M), DEADLINE_S)
        found = re.search(r"ready at (http://\S+)$", server.log, re.M)
        assert found is not None
        self.url = found[1]

    def kill(self) -> None:
        assert self._server is not None
        self._server.process.send_signal(signal.SIGKILL)
        self._server.process.wait()
        self._server.stop()
        self._server = None

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "ws", base="none")


@pytest.fixture
def service(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    for name in ("INFERRY_TOKEN", "INFERRY_CA", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Service(workspace.root, tmp_path)
    found.begin()
    try:
        yield found
    finally:
        found.close()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
def test_what_a_killed_service_was_at_has_failed_leaves_no_process_and_goes_on(
    cli: Cli, workspace: Workspace, service: Service, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/quick.py").write_text(QUICK)
    (tmp_path / "code/slow.py").write_text(SLOW)
    sign = tmp_path / "sign"
    (tmp_path / "two.yaml").write_text(PIPELINE.replace("SIGN", str(sign)))
    begun = cli("pipeline", "run", "two.yaml", "-w", service.url, "--detach")
    assert (begun.code, begun.stdout.split()[0]) == (0, "two:1"), begun.stderr
    eventually(sign.exists, DEADLINE_S)
    pids = [int(word) for word in sign.read_text().split()]
    assert all(map(_is_alive, pids))
    service.kill()
    eventually(lambda: not any(map(_is_alive, pids)), DEADLINE_S)
    view = pipeline_view(workspace, "two:1")  # while there is no service
    assert (view.status, view.cause) == ("failed", "its process ended without a word")

    service.begin()
    shown = json.loads(cli("pipeline", "show", "two:1", "-w", service.url, "-o", "json").stdout)
    assert (shown["status"], shown["cause"]) == ("failed", "its process ended without a word")
    assert [(step["step"], step["state"]) for step in shown["steps"]] == [
        ("quick", "finished"),
        ("slow", "failed"),
    ]
    assert shown["steps"][1]["cause"] == "its process ended without a word"
    quick = shown["steps"][0]["run"]

    Path(f"{sign}.go").touch()
    resumed = cli("pipeline", "resume", "two:1", "-w", service.url)
    assert resumed.code == 0, resumed.stderr
    assert "slow | slow is done 1" in resumed.stderr
    assert "quick" not in resumed.stderr  # it is not done again, nor told again
    view = pipeline_view(workspace, "two:1")
    assert [(step.state, step.tries) for step in view.steps] == [("finished", 1), ("finished", 2)]
    assert view.steps[0].run == quick
    assert not list((workspace.root / "runs").glob("*.work"))


@pytest.mark.slow
def test_a_deploy_step_by_url_waits_for_an_inferry_up_and_the_service_is_none(
    cli: Cli, workspace: Workspace, service: Service, tmp_path: Path
) -> None:
    program("haproxy")
    adder(tmp_path / "m.onnx")
    (tmp_path / "web.yaml").write_text(DEPLOYED)
    begun = cli("pipeline", "run", "web.yaml", "-w", service.url, "--detach")
    assert begun.code == 0, begun.stderr

    def said() -> str:
        deploy = pipeline_view(workspace, "web:1").step("deploy")
        return "" if deploy.run_id is None else workspace.tracking.log(deploy.run_id).decode()

    up = None
    try:
        eventually(lambda: "no inferry up runs beside the service" in said(), DEADLINE_S)
        assert workspace.deployments.get("web").observed is None  # nobody has begun anything
        up = Server(["inferry", "up", "-w", str(workspace.root)], cwd=tmp_path)
        eventually(lambda: workspace.tracking.runs.get("web:1").has_ended, DEADLINE_S)
        view = pipeline_view(workspace, "web:1")
        assert (view.status, view.cause) == ("finished", None)
        assert [step.made for step in view.steps] == ["adder:1", "adder:1", "web"]
        service.kill()  # which replicas are no children of
        (tmp_path / "in.json").write_text('{"x": [[1, 2, 3]]}')
        scored = cli("score", "web", "--data", "in.json", "-w", str(workspace.root))
        assert scored.code == 0, scored.stderr
    finally:
        cli("deployment", "delete", "web", "--wait", "-w", str(workspace.root))
        if up is not None:
            up.stop()


def test_a_deploy_step_of_a_service_without_an_inferry_up_fails_and_stays_declared(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.models.register(adder(tmp_path / "m.onnx"), name="adder")
    workspace.images.create("adder", models=["adder"], proof=False)
    pipeline = Pipeline("p", [DeployStep("web", image="adder:1")], folder=str(tmp_path))
    run = prepare(workspace, with_parameters(pipeline, {}))
    runner = DeployRunner(workspace, "ada", stands_in=False, unkept_s=0.3)
    runners = {**runners_of(workspace), "deploy": runner}
    view = drive(workspace, run.id, runners=runners)
    assert view.status == "failed"
    assert "no inferry up runs beside the service" in (view.step("web").cause or "")
    assert workspace.deployments.get("web").observed is None
    assert not (workspace.root / "deployments/controller.lock").exists()


@pytest.mark.engine
def test_a_step_by_url_runs_in_a_container(
    cli: Cli,
    workspace: Workspace,
    service: Service,
    engine: Engine,
    engine_base: str,
    tmp_path: Path,
) -> None:
    workspace.targets.attach("box", "docker", {})
    (tmp_path / "code").mkdir()
    (tmp_path / "code/quick.py").write_text(QUICK)
    (tmp_path / "code/last.py").write_text(
        "import os; print('in a container', open(os.environ['INFERRY_INPUT_X']"
        " + '/x.txt').read(), os.path.exists('/.dockerenv'))"
    )
    docker = f"target: box, docker: {{image: '{engine_base}', network: false}}"
    (tmp_path / "box.yaml").write_text(
        f"name: box\nsteps:\n  quick: {{script: quick.py, folder: code, {docker}}}\n"
        f"  last: {{script: last.py, folder: code, inputs: {{x: quick}}, {docker}}}\n"
    )
    done = cli("pipeline", "run", "box.yaml", "-w", service.url)
    assert done.code == 0, done.stderr
    assert "last | in a container 1 True" in done.stderr
    for step in pipeline_view(workspace, "box:1").steps:
        assert (step.state, step.target) == ("finished", "box")
        assert not containers(engine, step.run_id or "")
