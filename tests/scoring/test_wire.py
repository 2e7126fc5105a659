"""Ids, targets and heads: what goes over the wire, without one."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.http import ids
from scoring.http.answer import Answer, are_valid, head_bytes
from scoring.http.ids import IdSource
from scoring.http.wire import TargetError, deadline_ms, declared_size, parse_target


def test_new_ids_are_uuid4s_in_form_and_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one source, of many (each process has its own), and of one that begins anew."""
    monkeypatch.setattr(ids, "_AT_ONCE", 300)
    sources = [IdSource() for _ in range(100)]
    texts = [source.new().decode() for source in sources for _ in range(10)]
    texts += [sources[0].new().decode() for _ in range(1000)]
    assert len(set(texts)) == 2000
    for text in texts:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
    assert {text[19] for text in texts} == set("89ab")
    assert len({text[:23] for text in texts[-1000:]}) in (4, 5)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=3))
def test_valid_headers_are_as_many_lines_as_they_are(headers: list[tuple[str, str]]) -> None:
    if are_valid(headers):
        head = head_bytes(Answer(299, tuple(headers)), b"", b"date: now\r\n")
        assert head.startswith(b"HTTP/1.1 299 Unknown\r\ndate: now\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert len(re.split(b"[\r\n]+", head)) == 3 + len(headers)


@given(st.binary(max_size=20) | st.text(alphabet="/%abc?#:@[]*0123", max_size=20).map(str.encode))
def test_a_target_is_taken_apart_or_refused(target: bytes) -> None:
    try:
        parsed = parse_target(target)
    except TargetError:
        return
    assert parsed.path
    assert parsed.query in target


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/score", "/score", b""),
        (b"/score?", "/score", b""),
        (b"/a%20b?x=%20", "/a b", b"x=%20"),
        (b"http://host:1/score?x", "/score", b"x"),
        (b"http://host", "/", b""),
        (b"*", "*", b""),
    ],
)
def test_targets(target: bytes, path: str, query: bytes) -> None:
    parsed = parse_target(target)
    assert (parsed.path, parsed.query) == (path, query)


def test_declared_sizes_and_deadlines() -> None:
    assert declared_size(None) == declared_size(b"x") == 0
    assert declared_size(b"12") == 12
    assert deadline_ms(None) is None
    assert deadline_ms(b"1.5") == 1.5
    for bad in (b"", b"x", b"0", b"-1", b"nan", b"inf", b"1e10"):
        with pytest.raises(ValueError, match="positive number"):
            deadline_ms(bad)
