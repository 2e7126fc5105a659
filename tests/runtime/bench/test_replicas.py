"""What replicas say while they are under load."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from runtime.bench.replicas import Watch, read_page

PAGE = b"""# TYPE inferry_in_flight gauge
inferry_in_flight{model="a",version=""} %d
inferry_in_flight{model="b",version=""} 1
inferry_batch_requests_sum{model="a",version=""} %d
inferry_batch_requests_count{model="a",version=""} %d
"""


def test_a_page_has_requests_in_flight_and_batches() -> None:
    assert read_page(PAGE % (3, 40, 10)) == (4.0, 40.0, 10.0)


def test_a_page_that_is_none_says_nothing() -> None:
    for page in (b"", b"\xff\xfe", b"inferry_in_flight x\n", b"<html>", PAGE[:40]):
        assert read_page(page) is None


def test_replicas_are_asked_until_the_block_ends() -> None:
    asked, second = 0, threading.Event()

    def fetch(places: Mapping[str, tuple[str, int]]) -> Mapping[str, bytes | None]:
        nonlocal asked
        asked += 1
        if asked >= 2:
            second.set()
        return {"a": PAGE % (asked, 40 * asked, 10 * asked), "b": None}

    places = {"a": ("127.0.0.1", 1), "b": ("127.0.0.1", 2)}
    with Watch(places, fetch=fetch, every_s=0.001) as watch:
        assert second.wait(60)
    [found] = watch.found()
    assert (found.id, found.requests_per_batch) == ("a", 4.0)
    assert found.most_in_flight == asked + 1


def test_without_replicas_nobody_is_asked() -> None:
    with Watch({}) as watch:
        pass
    assert watch.found() == ()
