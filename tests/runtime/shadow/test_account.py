"""As whom a mirror runs, and where it writes what went wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.shadow.account import environment, may_pass
from runtime.shadow.log import MOST_BYTES, LogFile, last_line


def test_who_may_pass_a_folder(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    owner, group = place.stat().st_uid, place.stat().st_gid
    for mode, ids, found in (
        (0o700, (owner, group), True),
        (0o600, (owner, group), False),
        (0o710, (owner + 1, group), True),
        (0o701, (owner + 1, group), False),  # as the group may not
        (0o701, (owner + 1, group + 1), True),
        (0o770, (owner + 1, group + 1), False),
    ):
        place.chmod(mode)
        assert may_pass(place, ids) is found, (oct(mode), ids)


def test_it_gets_nothing_of_the_controllers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PATH", "/bin")
    assert environment()["PATH"] == "/bin"
    assert "secret" not in environment().values()


def test_a_log_that_grew_too_long_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_line(path) == ""
    for text in (b"first\n", b"x" * (MOST_BYTES + 1), b"la\x1bst\n\n"):
        with LogFile(path) as log:
            os.write(log, text)
    assert path.read_bytes() == b"la\x1bst\n\n"
    assert last_line(path) == "last"
    path.write_bytes(b"y" * 5000)
    assert len(last_line(path)) == 200


def test_a_log_is_no_link_to_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"), LogFile(tmp_path / "log"):
        pass
    assert not (tmp_path / "other").exists()
