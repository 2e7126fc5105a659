"""What the launcher makes of a module that wants to get away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

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


def test_much_that_comes_at_once_is_bounded_on_disk_too(tmp_path: Path) -> None:
    log = launcher.Log(str(tmp_path / "log"), 1000, lambda port: None)
    for _ in range(3):
        log.write(bytes(range(250)) * 37)
    kept = [path.read_bytes() for path in (tmp_path / "log.1", tmp_path / "log")]
    assert [len(each) <= 1000 for each in kept] == [True, True]
    assert (bytes(range(250)) * 37).endswith(b"".join(kept)[-1000:])
    assert log._file is not None
    os.close(log._file)
