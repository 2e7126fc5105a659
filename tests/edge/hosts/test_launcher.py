"""What the launcher makes of a module that wants to get away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.hosts import launcher


@pytest.mark.parametrize("port", [0, 65_536, 99_999, 10**30])
def test_a_port_that_cannot_be_is_none(port: int) -> None:
    assert launcher.listening_port(b"Listening on http://x:%d\n" % port) is None
    assert launcher.listening_port(b"x\nListening on http://x:65535\n") == 65_535


def test_a_long_chain_of_processes_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def children(pid: int) -> Iterator[int]:
        return iter([pid + 1] if pid < 5000 else [])

    monkeypatch.setattr(launcher, "_children", children)
    assert list(launcher._descendants(1)) == list(range(1, 5001))
