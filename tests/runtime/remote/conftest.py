"""One service for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runtime.remote.served import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workspaces, ``default`` and ``team``, without tokens."""
    folder = tmp_path_factory.mktemp("served")
    with serving({"default": folder / "ws", "team": folder / "team"}) as found:
        yield found
