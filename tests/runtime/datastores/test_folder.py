"""The folder of this machine: what leads out of it, and file systems that can less."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.datastores.errors import ClashError, MissingFileError, UnsafePathError
from runtime.datastores.folder import FolderFiles
from runtime.datastores.port import Content


def content(path: str, data: bytes = b"new") -> Content:
    return Content(path, len(data), lambda: iter([data]))


def test_a_link_put_there_in_the_middle_of_a_transfer_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    files = FolderFiles(root)

    def chunks() -> Iterator[bytes]:
        yield b"ne"
        (root / "sub").rename(root / "was-sub")
        (root / "sub").symlink_to(outside)
        yield b"w"

    files.write(Content("sub/f", 3, chunks), replace=True)
    assert list(outside.iterdir()) == []
    assert (root / "was-sub/f").read_bytes() == b"new"
    (outside / "f").write_bytes(b"mine")
    with pytest.raises(UnsafePathError):
        files.write(content("sub/f"), replace=True)
    with pytest.raises(UnsafePathError):
        files.delete("sub/f")
    with pytest.raises(UnsafePathError):
        files.stat("sub/f")
    assert (outside / "f").read_bytes() == b"mine"


def test_a_link_is_deleted_itself(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "root/link").symlink_to(tmp_path / "mine")
    files = FolderFiles(tmp_path / "root")
    assert list(files.list("")) == []
    files.delete("link")
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert list((tmp_path / "root").iterdir()) == []


def test_links_in_a_circle_and_links_to_nowhere_end_a_walk_that_follows_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/up").symlink_to(tmp_path)
    files = FolderFiles(tmp_path, links="follow", is_source=True)
    with pytest.raises(UnsafePathError, match="'a/up' leads to a folder above"):
        list(files.list(""))
    (tmp_path / "a/up").unlink()
    (tmp_path / "a/nowhere").symlink_to(tmp_path / "no-such-file")
    with pytest.raises(MissingFileError, match="'a/nowhere'"):
        list(files.list(""))


def test_a_deep_folder_is_refused_rather_than_walked(tmp_path: Path) -> None:
    here = tmp_path
    for _ in range(120):
        here = here / "d"
    here.mkdir(parents=True)
    (here / "f").write_bytes(b"1")
    with pytest.raises(UnsafePathError, match="101 parts"):
        list(FolderFiles(tmp_path).list(""))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "wb"):
        pass
    with pytest.raises(UnsafePathError, match="no text in UTF-8"):
        list(FolderFiles(tmp_path, is_source=True).list(""))


def test_a_datastore_whose_folder_has_gone_is_not_made_anew(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path / "unmounted")
    with pytest.raises(MissingFileError):
        files.write(content("f"), replace=True)
    with pytest.raises(MissingFileError, match="folder itself"):
        list(files.list(""))
    assert not (tmp_path / "unmounted").exists()
    FolderFiles(tmp_path / "new", makes_root=True).write(content("f"), replace=True)
    assert (tmp_path / "new/f").read_bytes() == b"new"


def test_without_hard_links_what_is_there_is_kept_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", link)
    files = FolderFiles(tmp_path)
    files.write(content("f", b"old"), replace=False)
    with pytest.raises(ClashError):
        files.write(content("f"), replace=False)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_being_written_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".inferry-part-0123").write_bytes(b"half")
    assert list(FolderFiles(tmp_path).list("")) == []
