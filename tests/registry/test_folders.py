"""What is handed out as a file: whole or not there, and never in the place of another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.errors import TargetError, TargetExistsError
from registry.folders import new_file


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.zip"
    with new_file(target) as file:
        file.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert os.listdir(target.parent) == ["a.zip"]


def test_nothing_is_left_of_one_that_was_cut(tmp_path: Path) -> None:
    def cut() -> None:
        with new_file(tmp_path / "a.zip") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        cut()
    assert os.listdir(tmp_path) == []


def test_what_is_there_or_came_meanwhile_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.zip"

    def late() -> None:
        with new_file(target) as file:
            file.write(b"ours")
            target.write_bytes(b"theirs")

    with pytest.raises(TargetExistsError, match="is there already"):
        late()
    assert target.read_bytes() == b"theirs"
    (tmp_path / "link").symlink_to("nowhere")
    for there in (target, tmp_path / "link", tmp_path):
        with pytest.raises(TargetExistsError, match="is there already"), new_file(there):
            pytest.fail("it was begun")
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "link"]


def test_a_place_that_cannot_be_written_is_named_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="cannot write"), new_file(tmp_path / "file" / "a.zip"):
        pytest.fail("it was begun")
