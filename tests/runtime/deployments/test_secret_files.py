"""Secrets on the disk of whoever runs replicas."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge.errors import HostError
from runtime.deployments.secret_files import SecretFiles

SECRETS = {"a": b"1", "b": b"2"}


def test_a_revision_takes_nothing_from_another(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / "secrets", None)
    first = files.written("web", 1, ["a"], SECRETS)
    second = files.written("web", 2, ["b"], SECRETS)
    assert [path.name for path in first.iterdir()] == ["a"]
    assert (second / "b").read_bytes() == b"2"
    files.written("web", 1, [], SECRETS)
    assert list(first.iterdir()) == []
    files.remove("web")
    files.remove("web")
    assert list((tmp_path / "secrets").iterdir()) == []


def test_nobody_else_reads_them(tmp_path: Path) -> None:
    folder = SecretFiles(tmp_path / "secrets", None).written("web", 1, ["a"], SECRETS)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o400


def test_one_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no secret 'c'"):
        SecretFiles(tmp_path, None).written("web", 1, ["c"], SECRETS)


def test_one_that_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / "secrets", (os.geteuid(), os.getegid()))
    secrets = {"a": b"1", "b": b"2"}
    folder = files.written("web", 1, secrets, secrets)
    before = {name: (folder / name).stat().st_ino for name in secrets}
    files.written("web", 1, secrets, {"a": b"1", "b": b"3"})
    assert (folder / "a").stat().st_ino == before["a"]
    assert (folder / "b").read_bytes() == b"3"
    assert (folder / "b").stat().st_mode & 0o777 == 0o400
