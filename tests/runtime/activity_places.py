"""Where activities begin, as the source says it: the functions that begin one, the commands that
can be resumed, and the routes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.runtime.server import ROOT

PACKAGES = ("registry", "runtime", "edge", "fpga", "scoring")
STARTS = frozenset(("activities", "jobs"))
"""``workspace.activities.start(...)``, ``site.jobs.start(...)``."""
BEGINNERS = frozenset(("begun_here", "stand_in", "receiving", "begun_by"))
TRANSFER = "runtime.cli.transfer_activity"
"""Whose ``transfer`` begins one; another function of the name does not."""


def places() -> set[str]:
    """``runtime/cli/image.py push`` and ``route images.create``."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.parent != ROOT / "registry/activities":
                found |= set(_of_file(path))
    return found


def _of_file(path: Path) -> Iterator[str]:
    name = str(path.relative_to(ROOT))
    text = path.read_text()
    tree = ast.parse(text)
    beginners = BEGINNERS | (frozenset(("transfer",)) if TRANSFER in text else frozenset())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_begins(each, beginners) for each in ast.walk(node)):
                yield f"{name} {node.name}"
        elif isinstance(node, ast.Call) and _called(node) == "Route" and _is_resumable(node):
            yield f"route {ast.literal_eval(node.args[2])}"


def _begins(node: ast.AST, beginners: frozenset[str]) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr == "start":
        return ast.unparse(node.func.value).rpartition(".")[2].lstrip("_") in STARTS
    return _called(node) in beginners


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _is_resumable(node: ast.Call) -> bool:
    return any(
        each.arg == "is_resumable" and ast.unparse(each.value) == "True" for each in node.keywords
    )
