"""Ranges and paths that clients send, by generated text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.registry_service.byte_range import Span, UnsatisfiableError, parse_range
from runtime.registry_service.paths import parse_path

ETAG = '"x"'


@given(st.text(max_size=60))
def test_any_path_is_parsed_or_refused(text: str) -> None:
    parse_path(f"/v2/{text}")
    parse_path(text)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_are_slices(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    try:
        span = parse_range(f"bytes={first}-{last}", None, ETAG, size)
    except UnsatisfiableError:
        assert first >= size
        return
    if last < first:
        assert span is None
    else:
        assert span is not None
        assert data[span.offset : span.offset + span.count] == data[first : last + 1]


def test_a_range_of_another_version_is_the_whole() -> None:
    assert parse_range("bytes=0-1", '"y"', ETAG, 9) is None
    assert parse_range("bytes=0-1", ETAG, ETAG, 9) == Span(0, 2)
