"""gzip and deflate, and bodies that unfold without end."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.errors import BodyError
from scoring.oip.compression import (
    CODINGS,
    MOST_MEMBERS,
    UnfoldsTooLargeError,
    UnknownCodingError,
    choose,
    compress,
    decompress,
)

LIMIT = 1000


@given(body=st.binary(max_size=LIMIT), coding=st.sampled_from(CODINGS))
def test_both_ways(body: bytes, coding: str) -> None:
    assert decompress(compress(body, coding), coding, LIMIT) == body


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(b"body", mtime=0), "gzip"),
        (gzip.compress(b"body", mtime=0), " X-GZip "),
        (zlib.compress(b"body"), "deflate"),
        (b"body", ""),
        (b"body", "identity"),
        (gzip.compress(zlib.compress(b"body"), mtime=0), "deflate, gzip"),
        (gzip.compress(b"body", mtime=0), "identity,, gzip"),
        (
            gzip.compress(b"bo", mtime=0)
            + gzip.compress(b"", mtime=0)
            + gzip.compress(b"dy", mtime=0),
            "gzip",
        ),
    ],
)
def test_codings(body: bytes, coding: str) -> None:
    assert decompress(body, coding, LIMIT) == b"body"


@pytest.mark.parametrize("coding", ["br", "gzip, br", "compress", "gzip,gzip,gzip", "\x00" * 500])
def test_codings_that_are_not_understood(coding: str) -> None:
    with pytest.raises(UnknownCodingError, match="use gzip or deflate"):
        decompress(b"", coding, LIMIT)


@pytest.mark.parametrize("coding", CODINGS)
def test_the_limit_is_exact(coding: str) -> None:
    assert len(decompress(compress(bytes(LIMIT), coding), coding, LIMIT)) == LIMIT
    with pytest.raises(UnfoldsTooLargeError, match="larger than 1000 bytes"):
        decompress(compress(bytes(LIMIT + 1), coding), coding, LIMIT)


def test_the_limit_holds_for_all_members_together() -> None:
    body = gzip.compress(bytes(LIMIT)) + gzip.compress(b"x")
    with pytest.raises(UnfoldsTooLargeError):
        decompress(body, "gzip", LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_bomb_is_never_in_memory(coding: str) -> None:
    name, *again = coding.split(", ")
    bomb = compress(bytes(50_000_000), name)
    if again:
        bomb = compress(bomb, name)
    tracemalloc.start()
    try:
        with pytest.raises(UnfoldsTooLargeError):
            decompress(bomb, coding, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_many_empty_members_are_refused_at_once() -> None:
    body = gzip.compress(b"") * 200_000
    began = time.thread_time()
    with pytest.raises(BodyError, match=f"more than {MOST_MEMBERS} gzip members"):
        decompress(body, "gzip", LIMIT)
    assert time.thread_time() - began < 5


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body[:5],
        lambda body: body + b"x",
        lambda body: b"x" + body,
        lambda body: body[:-2] + bytes([body[-2] ^ 1]) + body[-1:],
    ],
)
def test_damaged_bodies(coding: str, damage: object) -> None:
    assert callable(damage)
    with pytest.raises(BodyError):
        decompress(damage(compress(b"a body", coding)), coding, LIMIT)


@given(body=st.binary(max_size=50), coding=st.sampled_from(CODINGS))
def test_any_bytes_are_unfolded_or_refused(body: bytes, coding: str) -> None:
    with suppress(BodyError):
        assert len(decompress(body, coding, LIMIT)) <= LIMIT


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0", None),
        ("*", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0, *;q=0.5", "deflate"),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=1", "gzip"),
        ("identity;q=0, gzip;q=0", None),
        ("br, zstd", None),
        ("gzip; q = 0.3 , deflate;q=nonsense", "deflate"),
        ("gzip;q=nan, deflate;q=7", "gzip"),
        (",;,=;", None),
    ],
)
def test_the_coding_of_an_answer(accept: str, coding: str | None) -> None:
    assert choose(accept) == coding
