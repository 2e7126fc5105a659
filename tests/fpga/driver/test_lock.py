"""A board's lock: one for all processes of a machine, whatever their folders and users are."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from fpga.driver.lock import BoardLock
from fpga.errors import BusyError


def test_a_module_with_a_temporary_folder_of_its_own_meets_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"test-{uuid.uuid4().hex}"
    first = BoardLock(name)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    second = BoardLock(name)
    try:
        first.acquire()
        with pytest.raises(BusyError, match=f"process {os.getpid()} uses the board"):
            second.acquire()
        first.release()
        second.acquire()
    finally:
        first.release()
        second.release()
        first._path.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "inferry-fpga-x.lock").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("precious")
    with pytest.raises(BusyError, match="cannot be taken"):
        BoardLock("x", tmp_path).acquire()
    assert (tmp_path / "victim").read_text() == "precious"
