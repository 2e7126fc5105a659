"""Names, digests and pages, by example and by generated text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.distribution.errors import DistributionError
from registry.distribution.grammar import (
    check_digest,
    check_repository,
    is_repository,
    is_tag,
    is_version,
    parse_chunk_range,
)
from registry.distribution.pages import PageQuery, page


def test_repositories_are_as_the_specification_writes_them() -> None:
    for good in ("a", "a/b/c", "a.b", "a_b", "a__b", "a---b", "0", "team-1/my.image"):
        assert check_repository(good) == good
    for bad in ("", "A", "a___b", "a..b", "a._b", "/a", "a/", "a//b", "a\n", "é", "a" * 256):
        assert not is_repository(bad)


@given(st.text(alphabet="ab./_-%\\;\0\n\u2215\uff0eA0", max_size=40))
def test_a_repository_has_no_part_that_a_path_could_misread(text: str) -> None:
    if is_repository(text):
        assert text.isascii()
        assert text == text.lower()
        assert all(part and part.strip("._-") == part for part in text.split("/"))


def test_tags_digests_and_versions() -> None:
    assert is_tag("a" * 128)
    assert is_tag("_")
    assert not any(map(is_tag, ["", ".a", "-a", "a" * 129, "a/b", "a\n", "é"]))
    assert all(map(is_version, ["latest", "1", "007"]))
    assert not any(map(is_version, ["v1", "1.0", "Latest", "\u0663"]))
    assert check_digest("sha256:" + "0a" * 32)
    with pytest.raises(DistributionError, match="only sha256"):
        check_digest("sha512:" + "0" * 128)
    assert parse_chunk_range("5-9").size == 5


@given(st.sets(st.text(max_size=3)), st.integers(1, 5))
def test_pages_together_are_the_list(items: set[str], n: int) -> None:
    items.discard("")
    found: list[str] = []
    query: PageQuery | None = PageQuery(n)
    while query is not None:
        part = page(items, query)
        assert len(part.items) <= n
        found += part.items
        query = part.next
    assert found == sorted(items)
