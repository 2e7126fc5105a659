"""A base in the tar of an OCI image layout: only the files of a layout come out of it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from registry.base import layout_archive
from registry.base.layout_archive import is_of_layout, unpacked_layout
from registry.base.reference import LayoutArchive, parse_base
from registry.errors import BaseImageError
from tests.registry.base.conftest import Load
from tests.registry.base.samples import LayoutMaker, debian, entry, link, tar

MARK = entry("oci-layout", b"{}")
INDEX = entry("index.json", b"{}")
BLOB = "blobs/sha256/" + "a" * 64


def packed(layout: LayoutMaker, target: Path) -> Path:
    """The tar of a layout."""
    with tarfile.open(target, "w") as made:
        made.add(layout.root, ".")
    return target


def test_an_image_is_read_from_the_tar_of_its_layout(load: Load, tmp_path: Path) -> None:
    layout = LayoutMaker(tmp_path / "oci")
    layout.image([tar(*debian(minor=10))], tag="ten")
    layout.image([tar(*debian(minor=12))], tag="twelve")
    file = packed(layout, tmp_path / "a.tar")
    assert load(f"oci:{file}:ten").python.version == (3, 10)
    assert load(f"oci:{file}:twelve").python.version == (3, 12)
    assert parse_base(f"oci:{file}") == LayoutArchive(file)
    with pytest.raises(BaseImageError, match="nine"):
        load(f"oci:{file}:nine")
    for blob in (layout.root / "blobs/sha256").iterdir():
        blob.write_bytes(b"others")
    with pytest.raises(BaseImageError, match="other bytes than its digest"):
        load(f"oci:{packed(layout, tmp_path / 'b.tar')}:ten")


def test_nothing_but_the_files_of_a_layout_comes_out(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    others = (entry("manifest.json"), entry("etc/passwd"), entry("blobs/sha256/x"), link("y", "/"))
    file.write_bytes(tar(MARK, INDEX, *others, entry(BLOB, b"x")))
    with unpacked_layout(file) as folder:
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert found == {"oci-layout", "index.json", "blobs", "blobs/sha256", BLOB}
    assert not folder.exists()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ((entry("../index.json"),), "out of|leaves|outside|root"),
        ((MARK, link("index.json", "/etc/passwd")), "its index.json is no file"),
        ((MARK, INDEX, link(BLOB, "/etc/passwd", tarfile.LNKTYPE)), "is no file"),
        ((MARK, INDEX, INDEX), "index.json twice"),
        ((MARK,), "no tar of an OCI image layout"),
        ((MARK, entry("index.json", b" " * (4 * 1024 * 1024 + 1))), "index.json is too large"),
    ],
)
def test_a_hostile_archive_is_refused_in_a_line(
    tmp_path: Path, members: tuple[tuple[tarfile.TarInfo, bytes], ...], words: str
) -> None:
    (tmp_path / "a.tar").write_bytes(tar(*members))
    with pytest.raises(BaseImageError, match=words) as refused, unpacked_layout(tmp_path / "a.tar"):
        pass
    assert "\n" not in str(refused.value)


def test_the_number_of_blobs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_archive, "MAX_BLOBS", 2)
    (tmp_path / "a.tar").write_bytes(tar(MARK, INDEX, entry(BLOB)))
    with pytest.raises(BaseImageError, match="more than 2"), unpacked_layout(tmp_path / "a.tar"):
        pass


def test_which_paths_a_layout_has() -> None:
    assert is_of_layout(BLOB)
    for path in ("blobs/sha256/../x", f"{BLOB}\n", f"/{BLOB}", "blobs/md5/a", BLOB.upper(), ""):
        assert not is_of_layout(path)
