"""INFERRY_STRICT=1: what skips, fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

@pytest.mark.skip(reason="never")
def test_marked(): pass

def test_inside(): pytest.skip("not now")

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""
MODULE = 'import pytest\npytest.skip("no module", allow_module_level=True)\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strict", "outcome"), [("1", {"1 failed", "2 errors", "1 xfailed"}), ("", {"3 skipped"})]
)
def test_a_skip_is_a_failure_in_strict_mode(strict: str, outcome: set[str], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "test_module.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", "-p", "no:xdist"],
        cwd=tmp_path,
        env=os.environ | {"INFERRY_STRICT": strict, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    closing = done.stdout.splitlines()[-1]
    assert all(part in closing for part in outcome), done.stdout
    assert (done.returncode == 0) == (strict == "")
