"""docs/reference/bad-inputs.md has each class of bad inputs, and each of its rows a test that is
there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reference/bad-inputs.md").read_text()
CLASSES = (
    *("Path traversal", "Source URI to server files", "Archive escape", "Pickle and friends"),
    *("Scanner evasion", "Command, template injection", "SSRF", "Missing, weak auth"),
    *("Browser attacks", "Exhaustion", "Leaky errors", "Secrets in images"),
)
"""The rows of the list that was made before anything was built."""
INPUTS = {
    "Path traversal": ("../", "%252e", "NUL", "4 kB", "Unicode", "trailing dot", "C:"),
    "Source URI to server files": ("file:///etc", "source=/", "another workspace", "password"),
    "Archive escape": (
        *("../", "absolute", "symbolic link", "hard link", "device", "FIFO", "setuid", "twice"),
        *("case", ".wh.", "1,000,000", "bomb", "wrong sizes", "sparse", "PAX"),
    ),
    "Pickle and friends": ("body", ".pkl.gz", "joblib", ".npy", "torch", "skops", "Keras", "ONNX"),
    "Command, template injection": ("names", "base", "--index-url", "git+ext", "conda", "$()"),
    "SSRF": ("169.254.169.254", "[::1]", "0x7f.1", "2130706433", "redirect", "another address"),
    "Missing, weak auth": ("no key", "scheme", "reader", "another workspace", "revoked", "time"),
    "Browser attacks": ("Host", "Origin", "SameSite", "SVG", "quotes", "nosniff", "method"),
    "Exhaustion": (
        *("tiny chunks", "boundary", "slow body", "Content-Length", "deep", "1e308", "tags"),
        *("431", "open uploads", "regular expression", "disk full"),
    ),
    "Secrets in images": (".env", ".git", ".aws", "id_rsa"),
}
"""What the rows of the list name, and so must the page."""
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_CELLS = 3


def sections() -> dict[str, str]:
    """Text by heading."""
    _, *found = re.split(r"^## ", PAGE, flags=re.M)
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in found}


def rows(text: str) -> list[list[str]]:
    """The cells of a table's lines, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


NAMED = sorted(set(_TEST.findall(PAGE)))


@cache
def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in ast.walk(tree) if isinstance(each, kinds)}


def test_the_page_has_each_class_and_no_other() -> None:
    assert tuple(sections()) == CLASSES


@pytest.mark.parametrize("name", INPUTS)
def test_a_class_has_the_inputs_that_its_attackers_used(name: str) -> None:
    said = " ".join(" ".join(row[:2]) for row in rows(sections()[name]))
    assert [word for word in INPUTS[name] if word not in said] == []


@pytest.mark.parametrize("name", CLASSES)
def test_each_row_has_an_answer_and_a_test(name: str) -> None:
    found = rows(sections()[name])
    assert found
    for row in found:
        assert len(row) == _CELLS, row
        assert row[0], row
        assert row[1], row
        named = _TEST.findall(row[2])
        assert named, row
        assert row[2] == ", ".join(f"`{file}::{test}`" for file, test in named), row


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_each_test_that_is_named_is_there(file: str) -> None:
    path = ROOT / file
    assert path.is_file()
    assert {test for of, test in NAMED if of == file} <= _functions(path)


def test_each_test_for_every_route_is_named() -> None:
    folder = ROOT / "tests/runtime/bad_inputs"
    made = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in folder.glob("test_*.py")
        for name in _functions(path)
        if name.startswith("test_") and name != "test_a_key_that_is_good_opens"
    }
    assert made <= set(NAMED)
