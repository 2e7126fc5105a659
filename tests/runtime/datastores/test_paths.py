"""Which names are paths."""

from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.datastores.errors import UnsafePathError
from runtime.datastores.paths import check_part, check_path, check_prefix, is_unfinished, join, some

PIECES = st.sampled_from(
    ["a", "b", ".", "..", "", "/", "//", "\0", "\n", "ü", " ", "~", "...", "x:"]
)


@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=8).map("/".join)))
def test_a_path_that_is_taken_stays_below_its_folder(text: str) -> None:
    try:
        assert check_path(text) == text
    except UnsafePathError as error:
        complaint = str(error)
    else:
        assert os.path.normpath(f"/target/{text}") == f"/target/{text}"
        return
    assert complaint.isprintable()
    assert len(complaint) < 300


def test_a_prefix_may_be_nothing_and_end_with_a_slash() -> None:
    assert [check_prefix(text) for text in ("", ".", "a", "a/", "a/b/")] == [
        "",
        "",
        "a",
        "a",
        "a/b",
    ]
    for text in ("/", "a//", "..", "../a", "/a"):
        with pytest.raises(UnsafePathError):
            check_prefix(text)


def test_a_part_has_no_slash() -> None:
    assert check_part("..a") == "..a"
    for text in ("a/b", "..", "/"):
        with pytest.raises(UnsafePathError):
            check_part(text)


def test_joining_leaves_out_what_is_empty_and_a_list_is_cut() -> None:
    assert join("", "a", "", "b") == "a/b"
    assert some(["a", "b"]) == "'a', 'b'"
    assert some("abcdefg").endswith("'e' and 2 more")
    assert is_unfinished("a/.inferry-part-12")
    assert not is_unfinished(".inferry-part-12/a")
