"""Of two controllers the second waits; who only looks whether there is one is none."""

from __future__ import annotations

import threading
from pathlib import Path

from runtime.deployments.controller import is_controlled, only_controller


def test_a_controller_is_seen_while_it_runs(tmp_path: Path) -> None:
    assert not is_controlled(tmp_path)
    assert not list(tmp_path.iterdir())  # to look makes nothing
    with only_controller(tmp_path, wait_s=0) as is_only:
        assert is_only
        assert is_controlled(tmp_path)
        with only_controller(tmp_path, wait_s=0) as is_second:
            assert not is_second
    assert not is_controlled(tmp_path)


def test_who_looks_is_never_taken_for_a_controller(tmp_path: Path) -> None:
    ended = threading.Event()
    looked = threading.Barrier(5)
    seen = [0, 0]

    def look() -> None:
        looked.wait(60)
        while not ended.is_set():
            seen[is_controlled(tmp_path)] += 1

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for thread in lookers:
        thread.start()
    looked.wait(60)
    try:
        for _ in range(300):
            with only_controller(tmp_path, wait_s=0) as is_only:
                assert is_only
                assert is_controlled(tmp_path)
    finally:
        ended.set()
        for thread in lookers:
            thread.join(60)
    assert sum(seen)
