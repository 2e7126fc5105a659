"""Targets: attached, listed, detached; not while a deployment is there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from registry import Workspace
from registry.errors import InUseError, InvalidNameError, NotFoundError, TargetExistsError


def test_local_is_always_there(made: Workspace) -> None:
    assert [(t.name, t.kind) for t in made.targets.list()] == [("local", "local")]
    with pytest.raises(InvalidNameError, match="always there"):
        made.targets.detach("local")


def test_a_target_is_attached_and_detached(made: Workspace) -> None:
    made.targets.attach("big", "docker", {"url": "ssh://ada@big"})
    found = made.targets.get("big")
    assert (found.kind, found.settings) == ("docker", {"url": "ssh://ada@big"})
    with pytest.raises(TargetExistsError):
        made.targets.attach("big", "fpga")
    made.targets.detach("big")
    with pytest.raises(NotFoundError):
        made.targets.get("big")
    with pytest.raises(NotFoundError):
        made.targets.detach("big")


def test_one_in_use_cannot_be_detached_and_names_its_users(made: Workspace) -> None:
    made.targets.attach("board", "fpga", {"board": "remote:10.0.0.7"})
    made.deployments.create("web", "adder:1", target="board", actor="a")
    with pytest.raises(InUseError, match="deployment web"):
        made.targets.detach("board")
    assert made.targets.get("board").users == ("web",)
    made.deployments.delete("web", actor="a")
    with pytest.raises(InUseError):
        made.targets.detach("board")  # it may still run there
    made.deployments.forget("web")
    made.targets.detach("board")


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("x", "moon", {}),
        ("x", "local", {}),
        ("X", "docker", {}),
        ("x", "docker", {"url": "http://h"}),
        ("x", "docker", {"url": "tcp://h\nx"}),
        ("x", "docker", {"uri": "ssh://h"}),
        ("x", "docker", {"tls": "relative"}),
        ("x", "docker", {"ssh_config": "relative"}),
        ("x", "docker", {"insecure": "perhaps"}),
        ("x", "fpga", {"board": "toaster"}),
        ("x", "edge", {}),
        ("x", "edge", {"condition": ""}),
        ("x", "edge", {"condition": "all", "port": "0"}),
        ("x", "edge", {"condition": "all", "address": "press-7"}),
    ],
)
def test_what_makes_no_sense_is_refused(
    made: Workspace, name: str, kind: str, settings: Mapping[str, str]
) -> None:
    with pytest.raises(InvalidNameError):
        made.targets.attach(name, kind, settings)
    assert len(made.targets.list()) == 1
