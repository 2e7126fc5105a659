"""Aliases of models: what they mean, and what they meant."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InUseError, InvalidNameError, NotFoundError


@pytest.fixture
def net(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Has two versions of ``net``."""
    for number in range(2):
        (tmp_path / "w.bin").write_bytes(bytes([number]))
        workspace.models.register(tmp_path / "w.bin", name="net")
    return workspace


def test_an_alias_means_one_version_until_it_means_another(net: Workspace) -> None:
    net.aliases.set("net", "champion", 1, who="ada")
    net.aliases.set("net", "champion", 1, who="bob")  # as it is already
    net.aliases.set("net", "champion", 2, who="bob")
    net.aliases.set("net", "old", 1)
    assert net.aliases.get("net", "champion") == 2
    assert net.aliases.of("net") == {"champion": 2, "old": 1}
    net.aliases.remove("net", "champion", who="cy")
    net.aliases.remove("net", "champion")
    changes = [(c.version, c.who) for c in net.aliases.history("net", "champion")]
    assert changes == [(1, "ada"), (2, "bob"), (None, "cy")]
    assert len(net.aliases.history("net")) == 4
    with pytest.raises(NotFoundError):
        net.aliases.get("net", "champion")


@pytest.mark.parametrize(
    ("model", "alias", "version", "error"),
    [
        ("net", "latest", 1, InvalidNameError),
        ("net", "Latest", 1, InvalidNameError),
        ("net", "7", 1, InvalidNameError),
        ("net", "v7", 1, InvalidNameError),
        ("net", "a b", 1, InvalidNameError),
        ("net", "", 1, InvalidNameError),
        ("net", "champion", 3, NotFoundError),
        ("other", "champion", 1, NotFoundError),
    ],
)
def test_what_cannot_be_an_alias_is_refused(
    net: Workspace, model: str, alias: str, version: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        net.aliases.set(model, alias, version)
    assert net.aliases.history(model) == []


def test_a_version_with_an_alias_cannot_be_deleted(net: Workspace) -> None:
    net.aliases.set("net", "champion", 1)
    with pytest.raises(InUseError, match="alias champion"):
        net.models.delete("net:1")
    with pytest.raises(InUseError, match="alias champion"):
        net.model_names.delete("net")
    net.models.delete("net:2")
    net.aliases.remove("net", "champion")
    net.models.delete("net:1")
    assert [change.version for change in net.aliases.history("net")] == [1, None]


@pytest.mark.parametrize(
    "statement", ["DELETE FROM alias_changes", "UPDATE alias_changes SET who=''"]
)
def test_the_history_only_grows(net: Workspace, statement: str) -> None:
    net.aliases.set("net", "champion", 1, who="ada")
    connection = sqlite3.connect(net.root / "workspace.db")
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        connection.execute(statement)
    connection.close()
    assert [change.who for change in net.aliases.history("net")] == ["ada"]
