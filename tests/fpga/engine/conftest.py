"""The bundle that these tests serve, made once."""

from __future__ import annotations

import pytest

from tests.fpga.engine import bundles


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> bundles.Digits:
    return bundles.make(tmp_path_factory.mktemp("digits"))
