"""What runs on a board is written for Python 3.8, as older PYNQ images have it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FPGA = Path(__file__).parents[3] / "fpga"
FILES = [
    *sorted((FPGA / "isa").glob("*.py")), *sorted((FPGA / "driver").glob("*.py")),
    FPGA / "__init__.py", FPGA / "artifact.py", FPGA / "errors.py",
]  # fmt: skip
LATER = {"removeprefix", "removesuffix", "pairwise", "batched", "StrEnum"}
LATER_OPTIONS = {("dataclass", "slots"), ("dataclass", "kw_only"), ("zip", "strict")}


def names(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_python_38(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    ahead = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
    )
    assert ahead or len(tree.body) <= 1, "annotations are for Python 3.10: import annotations"
    for node in ast.walk(tree):
        assert getattr(node, "attr", getattr(node, "id", "")) not in LATER
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                assert (names(node), keyword.arg) not in LATER_OPTIONS, ast.unparse(node)
