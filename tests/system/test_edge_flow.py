"""From an image to a device that answers, a new version, and a bad one that is taken back: with the
real programs, mosquitto with TLS and rights, the registry, the hub, an agent, and modules in Docker
or as processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.edge.fleet import Fleet
from tests.broker import Mosquittos
from tests.engine import Engine
from tests.runtime.server import train_digits

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.xdist_group("edge flow")]

HERE = Path(__file__).parent
SCRIPT = """
import json
import numpy as np
import onnxruntime
import os

def init():
    global session
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

def run(raw_data):
    pixels = np.array(json.loads(raw_data)["data"], dtype=np.float32).reshape(-1, 64)
    label, probabilities = session.run(["label", "probabilities"], {"pixels": pixels})
    return {"predictions": label.tolist(), "version": %d, "confidence": CONFIDENCE}
"""
DEVICE = f"press-{os.getpid()}"
"""Agents of one name would stop each other's modules in Docker; tests run side by side."""
GOOD = "[1.0]"
NAN = "[float('nan')]"
ROLLOUT = ("edge", "rollout", "start", "sorters", "digits")


@pytest.fixture
def fleet(tmp_path: Path, mosquittos: Mosquittos) -> Iterator[Fleet]:
    """With an empty workspace, whose images are bundles. It starts its own mosquitto, with what
    ``inferry edge broker-config`` writes; ``mosquittos`` says what is so where there is none."""
    with Fleet(tmp_path) as found:
        yield found


def digit(folder: Path) -> tuple[Any, int]:
    """A request, and its right answer."""
    held_out = json.loads((folder / "held_out.json").read_text())
    return {"data": held_out["pixels"][:1]}, held_out["labels"][0]


def make_image(fleet: Fleet, version: int, confidence: str = GOOD) -> None:
    """digits:``version``, with golden inputs."""
    body, label = digit(fleet.folder)
    output = {"predictions": [label], "version": version, "confidence": [1.0]}
    case = {"input": body, "output": output}
    if confidence != GOOD:
        case = {"input": body}
    (fleet.folder / "golden.json").write_text(json.dumps({"v": 1, "cases": [case]}))
    script = (SCRIPT % version).replace("CONFIDENCE", confidence)
    (fleet.folder / "score.py").write_text(script)
    fleet.image(
        "digits", fleet.folder / "model.onnx", fleet.folder / "score.py",
        "--golden", str(fleet.folder / "golden.json"),
    )  # fmt: skip


def flow(fleet: Fleet, host: str, patience_s: float) -> None:
    """The whole story, on one device."""
    body, label = digit(fleet.folder)
    make_image(fleet, 1)
    fleet.enroll(
        DEVICE, "--tag", "line=3",
        extra=f'[telemetry]\nmetrics_s = 2\n[modules]\nhosts = ["{host}"]\n',
    )  # fmt: skip
    fleet.start_agent(DEVICE)
    fleet.wait("it is there", lambda: fleet.json("edge", "devices", DEVICE)["online"])
    fleet.inferry(
        "edge", "deploy", "sorters", "--module", "digits=digits:1", "--target", 'line == "3"',
        "--watch-s", "1",
    )  # fmt: skip
    fleet.wait("digits:1 runs", lambda: fleet.runs(DEVICE, "digits:1"), patience_s)
    answer = fleet.score(DEVICE, body)
    assert (answer["predictions"], answer["version"]) == ([label], 1)
    assert fleet.module(DEVICE)["host"] == host

    def sources() -> set[str]:
        found = fleet.json("edge", "telemetry", DEVICE, "--limit", "1000")
        return {record["source"] for record in found}

    fleet.wait("telemetry came", lambda: {"host", "agent", "digits"} <= sources())

    make_image(fleet, 2)
    fleet.inferry(*ROLLOUT, "digits:2", "--watch")
    fleet.wait("digits:2 runs", lambda: fleet.runs(DEVICE, "digits:2"))
    assert fleet.score(DEVICE, body)["version"] == 2

    make_image(fleet, 3, NAN)
    fleet.inferry(*ROLLOUT, "digits:3", "--watch", code=1)
    last = fleet.json("edge", "rollout", "list")[-1]
    assert (last["state"], last["failed"]) == ("rolled back", 1), last
    fleet.wait("digits:2 still runs", lambda: fleet.runs(DEVICE, "digits:2"))
    assert fleet.score(DEVICE, body)["version"] == 2
    log = fleet.json("edge", "deployments", "log")
    assert any("gate" in entry["note"] or "finite" in entry["note"] for entry in log), log

    assert "Listening on" in fleet.inferry("edge", "logs", DEVICE, "digits", "--lines", "200")
    assert "answered in" in fleet.inferry("edge", "ping", DEVICE)
    fleet.inferry("edge", "restart", DEVICE, "digits")
    fleet.wait(
        "it runs again",
        lambda: fleet.module(DEVICE)["restarts"] == 1 and fleet.runs(DEVICE, "digits:2"),
    )
    fleet.inferry("edge", "check", DEVICE)
    fleet.inferry("edge", "support-bundle", DEVICE, "s.tar.gz")
    assert (fleet.folder / "s.tar.gz").stat().st_size > 1000
    refused = fleet.inferry("image", "delete", "digits:2", code=1)
    assert refused == ""


def test_the_whole_story_with_modules_as_processes(fleet: Fleet) -> None:
    train_digits(fleet.folder)
    flow(fleet, "process", 60)
    modules_run_without_network_and_agent(fleet)


@pytest.mark.engine
def test_the_whole_story_with_modules_in_docker(
    tmp_path: Path, mosquittos: Mosquittos, engine: Engine, debian_base: Path
) -> None:
    with Fleet(tmp_path, base=str(debian_base)) as fleet:
        train_digits(fleet.folder)
        flow(fleet, "docker", 180)


def modules_run_without_network_and_agent(fleet: Fleet) -> None:
    """What is cut off runs on, and comes back."""
    body, _ = digit(fleet.folder)
    for name in ("hub", "broker", "registry"):
        fleet.kill(name)
    agent = fleet.processes[DEVICE]
    port = int(fleet.module(DEVICE)["port"])
    fleet.kill(DEVICE)
    assert agent.returncode == -signal.SIGKILL
    assert answers(port, body)
    before = fleet.json("edge", "devices", DEVICE)["reported_at"]
    fleet.start_agent(DEVICE)  # without any network, and it finds what runs
    time.sleep(2)
    assert answers(port, body)
    fleet.start_broker()
    fleet.start_hub()
    fleet.wait(
        "the device is back",
        lambda: (
            fleet.json("edge", "devices", DEVICE)["reported_at"] > before
            and fleet.runs(DEVICE, "digits:2")
        ),
    )
    assert fleet.module(DEVICE)["restarts"] == 0, fleet.log(DEVICE)
    assert fleet.module(DEVICE)["port"] == port


def answers(port: int, body: Any) -> bool:
    """Whether the module does, whoever else is gone."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as link:
        link.request("POST", "/score", json.dumps(body), {"Content-Type": "application/json"})
        return link.getresponse().status == 200
