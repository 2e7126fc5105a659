"""A deployment on an FPGA board, which is emulated: there is one board, and nobody's request fails
when one version follows the other. With the controller as ``inferry up`` has it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fpga.build import Order, build
from registry import Workspace
from registry.deployments import Health, RevisionSettings, Rollout, ServiceSettings
from registry.fpga_artifact import FpgaContents
from runtime.deployments.controller import only_controller
from runtime.deployments.here import balancer_folder, controller_of
from tests.engine import program
from tests.fpga.build.networks import inputs, write
from tests.runtime.deployments.waiting import eventually, score, state, url_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SETTINGS = RevisionSettings(health=Health(start_s=60.0, interval_s=0.1))
SERVICE = ServiceSettings(rollout=Rollout(step_s=0.5, least_requests=0))


def with_board_image(workspace: Workspace, folder: Path) -> None:
    """Two versions of ``net``."""
    write(folder)
    workspace.models.register(folder / "model.onnx", name="net")

    def make(model: Path, say: Callable[[str], None]) -> FpgaContents:
        made = folder / f"made{len(list(folder.glob('made*')))}"
        build(Order(folder / "model.onnx", folder / "calibration.npz", lanes=8), made, say)
        return FpgaContents(made)

    for _ in range(2):
        workspace.images.create_fpga("net", models=["net"], make=make)


def test_one_version_follows_the_other_on_the_one_board(tmp_path: Path) -> None:
    program("haproxy")
    workspace = Workspace.init(tmp_path / "ws", base="none")
    with_board_image(workspace, tmp_path)
    workspace.targets.attach("board", "fpga", {"board": f"emulated:deploy-{os.getpid()}"})
    workspace.deployments.create(
        "web", "net:1", target="board", service=SERVICE, settings=SETTINGS, actor="a"
    )
    rows = inputs(2, seed=5).tolist()
    said: list[str] = []
    with (
        only_controller(workspace.root) as is_only,
        controller_of(workspace, told=said.append) as controller,
    ):
        assert is_only
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            port = url_port(eventually(lambda: state(workspace, "running")))
            (first,) = score("127.0.0.1", port, rows).values()
            workspace.deployments.update("web", image="net:2", actor="a")
            answers = []

            def is_over() -> bool:
                answers.extend(score("127.0.0.1", port, rows).values())
                found = state(workspace, "running")
                return found is not None and [s.revision for s in found.traffic] == [2]

            eventually(is_over, 90)
            assert all(np.array_equal(first, each) for each in answers)

            workspace.deployments.delete("web", actor="a")
            eventually(lambda: not workspace.deployments.list())
        finally:
            controller.stop()
            thread.join(60)
            controller._balancer.stop(1.0)
            shutil.rmtree(balancer_folder(workspace.root))
    assert "web running" in said
    assert said[-1] == "web is gone"
