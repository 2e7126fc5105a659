"""Names, keys, values and paths that are refused, and those that are not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidNameError
from registry.tracking import words

HOSTILE_PATHS = [
    "",
    "/etc/passwd",
    "../x",
    "a/../x",
    "a/..",
    "..",
    ".",
    "a/./b",
    "a//b",
    "a/",
    "//x",
    "\\x",
    "a\\..\\b",
    "C:/x",
    "c:x",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\u2028b",
    "\udcff",
    "a\uff0f..\uff0fb",  # full-width slashes
    "\uff0e\uff0e/x",  # full-width dots
    "\u2025/x",  # a two-dot leader is ".." when normalised
    "a/ /b",
    " a",
    "a ",
    "a.",
    "a/b./c",
    "nul",
    "NUL.txt",
    "a/Com1",
    "lpt9.log",
    ".inferry-abc",
    ".wh.a",
    "a/.wh..wh..opq",
    "x" * 256,
    "/".join(["abc"] * 300),
    "é" * 128,
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_hostile_path_is_refused_in_one_printable_line(path: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        words.check_path(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "path",
    ["a", "outputs/model.onnx", "a b/c.tar.gz", "über/模型.bin", "..a", "a..b", ".git", "%2e%2e"],
)
def test_a_plain_path_is_taken(path: str) -> None:
    assert words.check_path(path) == path


@given(st.text(max_size=40))
def test_a_path_that_is_taken_leads_nowhere_else(path: str) -> None:
    try:
        words.check_path(path)
    except InvalidNameError:
        return
    assert not path.startswith("/")
    assert all(part.strip() not in ("", ".", "..") for part in path.split("/"))


def test_a_file_that_is_also_a_folder_is_found() -> None:
    assert words.clashes(["a/b", "a/c", "d"]) is None
    assert words.clashes(["a/b/c", "d", "a/b"]) == "a/b"


@pytest.mark.parametrize("name", ["", " ", " a", "a\n", "a\tb", "\x1b[31m", "\u202e", "a" * 501])
def test_an_experiment_name_that_a_terminal_would_act_on_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        words.check_experiment(name)


@pytest.mark.parametrize("name", ["digits", "/Users/ada/exp 1", "größe", "a:b", "100%", "x" * 500])
def test_an_experiment_is_called_as_people_call_it(name: str) -> None:
    assert words.check_experiment(name) == name


def test_values_have_limits_and_are_text() -> None:
    assert words.check_params({"a": "x" * 6000, "b": "two\nlines"})
    wrong: list[dict[Any, Any]] = [
        {"a": "x" * 6001},
        {"a": 1},
        {1: "a"},
        {"a": "\0"},
        {"a": "\udc80"},
        {"": "a"},
        {str(n): "" for n in range(1001)},
    ]
    for pairs in wrong:
        with pytest.raises(InvalidNameError):
            words.check_params(pairs)
    assert words.check_tags({"a": "x" * 8000})


@pytest.mark.parametrize("id", ["", "a" * 31, "A" * 32, "g" * 32, "../" + "a" * 29, None])
def test_an_id_is_32_hexadecimal_digits(id: Any) -> None:
    with pytest.raises(InvalidNameError):
        words.check_id(id)
