"""Shares as parts of 10,000."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.balance import Balance, Keys, Service, Version, key_digest_of
from runtime.balance.layout import arranged
from runtime.balance.maps import PARTS, map_text, maps


def split(*shares: int) -> dict[int, int]:
    """Parts by lane."""
    versions = tuple(Version(f"v{n}", share) for n, share in enumerate(shares))
    entries = maps(arranged(Balance((Service("a", 80, versions),))))["maps/a.split"]
    found, next_one = {}, 0
    for key, lane in entries:
        first, _, last = key.partition(":")
        assert int(first) == next_one
        next_one = int(last or first) + 1
        found[int(lane)] = next_one - int(first)
    assert next_one == PARTS
    return found


def test_shares_are_parts() -> None:
    assert split(1) == {0: 10_000}
    assert split(95, 5) == {0: 9500, 1: 500}
    assert split(0, 7) == {1: 10_000}
    assert split(1, 1, 1) == {0: 3334, 1: 3333, 2: 3333}
    assert split(10_000, 1) == {0: 9999, 1: 1}


shares = st.lists(st.integers(0, 10_000), min_size=1, max_size=8).filter(any)


@settings(deadline=None, max_examples=50)
@given(shares)
def test_any_shares_are_parts_in_proportion(numbers: list[int]) -> None:
    found = split(*numbers)
    for lane, share in enumerate(numbers):
        exact = share * PARTS / sum(numbers)
        assert abs(found.get(lane, 0) - exact) <= len(numbers)
        assert (found.get(lane, 0) > 0) == (share > 0)


def test_a_service_without_versions_has_empty_maps_and_keys_are_digests() -> None:
    keys = Keys(key_digest_of("a" * 32), key_digest_of("b" * 32))
    found = maps(arranged(Balance((Service("a", 80, keys=keys),))))
    assert found["maps/a.split"] == found["maps/a.lanes"] == ()
    digest = keys.primary.upper()
    assert map_text(found["maps/a.keys"]).startswith(f"{digest} primary\n")


def test_a_shadow_has_copies_and_no_part_of_the_split() -> None:
    versions = (Version("v1", 1), Version("v2", 0, copies=1000), Version("v3", 0, copies=250))
    found = maps(arranged(Balance((Service("a", 80, versions),))))
    assert found["maps/a.split"] == (("0:9999", "0"),)
    assert found["maps/a.lanes"] == (("0", "1"),)
    assert found["maps/a.copied"] == (("0:249", "v2,v3"), ("250:999", "v2"))
    assert found["maps/a.shadows"] == (("v2", "1"), ("v3", "2"))
    assert "maps/a.copied" not in maps(arranged(Balance((Service("a", 80, versions[:1]),))))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, PARTS), max_size=4))
def test_each_shadow_gets_as_many_copies_as_it_shall(copies: list[int]) -> None:
    shadows = tuple(Version(f"v{n}", 0, copies=count) for n, count in enumerate(copies))
    found = maps(arranged(Balance((Service("a", 80, (Version("live", 1), *shadows)),))))
    counted = dict.fromkeys([one.name for one in shadows], 0)
    for key, names in found.get("maps/a.copied", ()):
        first, _, last = key.partition(":")
        for name in names.split(","):
            counted[name] += int(last or first) - int(first) + 1
    assert counted == {one.name: one.copies for one in shadows}
