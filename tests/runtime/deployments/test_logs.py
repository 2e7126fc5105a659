"""What replicas printed, for each kind of target."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import EdgeError
from registry import Workspace
from runtime.deployments.logs import logs_of
from runtime.deployments.paths import run_folder

ID = "web.1.a1b2c3"


def deployed(made: Workspace, kind: str, settings: dict[str, str]) -> str:
    if kind != "local":
        made.targets.attach("there", kind, settings)
    target = "local" if kind == "local" else "there"
    made.deployments.create("web", "adder:1", target=target, actor="a")
    return target


@pytest.mark.parametrize("kind", ["local", "fpga"])
def test_those_of_processes_are_read_where_the_controller_keeps_them(
    made: Workspace, kind: str
) -> None:
    target = deployed(made, kind, {"board": "emulated"} if kind == "fpga" else {})
    folder = run_folder(made.root, target, ID)
    folder.mkdir(parents=True)
    (folder / "log.1").write_text("one\n")
    (folder / "log").write_text("two\nthree\n")
    before = sorted(made.root.rglob("*"))
    with logs_of(made, "web") as read:
        assert read(ID, 2) == "two\nthree\n"
        assert read("web.1.ffffff", 2) == ""
    assert sorted(made.root.rglob("*")) == before


@pytest.mark.parametrize("id", ["../../../etc", "web-2.1.a", "", "web.1.a/../x", "web.0.a"])
def test_what_is_no_replica_of_it_is_not_looked_for(made: Workspace, id: str) -> None:
    deployed(made, "local", {})
    with logs_of(made, "web") as read, pytest.raises(EdgeError, match="no replica of web"):
        read(id, 2)


def test_what_cannot_be_read_is_said_without_a_path(made: Workspace) -> None:
    target = deployed(made, "local", {})
    folder = run_folder(made.root, target, ID)
    (folder / "log").mkdir(parents=True)
    with logs_of(made, "web") as read, pytest.raises(EdgeError) as caught:
        read(ID, 2)
    assert str(made.root) not in str(caught.value)


def test_an_engine_that_is_away_is_an_error_of_the_host(made: Workspace, tmp_path: Path) -> None:
    deployed(made, "docker", {"url": f"unix://{tmp_path}/none.sock"})
    with logs_of(made, "web") as read, pytest.raises(EdgeError):
        read(ID, 2)


def test_those_of_devices_are_asked_of_the_hub(made: Workspace) -> None:
    deployed(made, "edge", {"condition": "tags.site = 'a'"})
    with logs_of(made, "web") as read, pytest.raises(EdgeError, match="press-9"):
        read("press-9", 2)
