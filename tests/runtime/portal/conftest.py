"""A workspace whose texts would like to be scripts, once for all who only look at it."""

from __future__ import annotations

import pytest

from tests.runtime.portal.content import Content, fill

WORD = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}&lt;$(x)`y`"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Not to be changed but by more tags of its last run."""
    return fill(tmp_path_factory.mktemp("hostile"), WORD)
