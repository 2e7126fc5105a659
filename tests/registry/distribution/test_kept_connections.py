"""What a kept connection reads is what the database has now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from registry.errors import RegistryError
from registry.paths import WorkspacePaths


def _distribution(root: Path) -> Distribution:
    return Distribution.open(Workspace.init(root, base="none").root)


@pytest.mark.parametrize("how", ["swapped", "made anew"])
def test_a_token_of_a_database_that_was_replaced_is_none(tmp_path: Path, how: str) -> None:
    served = _distribution(tmp_path / "ws")
    old = served.tokens.create("old", "owner", None)
    assert served.tokens.bearer(old) is not None
    if how == "swapped":
        new = _distribution(tmp_path / "new").tokens.create("new", "reader", None)
        there, here = (WorkspacePaths(tmp_path / each).database for each in ("new", "ws"))
        for each in here.parent.glob(f"{here.name}-*"):
            each.unlink()
        there.replace(here)
    else:
        shutil.rmtree(tmp_path / "ws")
        new = _distribution(tmp_path / "ws").tokens.create("new", "reader", None)
    assert served.tokens.bearer(old) is None
    found = served.tokens.bearer(new)
    assert found is not None
    assert found.name == "new"


def test_a_database_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    served = _distribution(tmp_path / "ws")
    old = served.tokens.create("old", "owner", None)
    assert served.tokens.bearer(old) is not None
    shutil.rmtree(tmp_path / "ws")
    with pytest.raises(RegistryError):
        served.tokens.bearer(old)
