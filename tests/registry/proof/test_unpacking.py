"""Layers on disk: nothing outside of the folder, nothing but files."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import media_types
from registry.errors import ImageFailedError
from registry.layers import Layer, bytes_entry
from registry.proof.unpacking import protect, remove, unpack
from tests.registry.proof.plans import Shelf

INSIDE = "opt/inferry/packages"


def _info(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info


HOSTILE = [
    [_info("../outside")],
    [_info("/etc/passwd")],
    [_info(f"{INSIDE}/../../../../outside")],
    [_info("etc/passwd")],
    [_info("opt/inferry/../../outside")],
    [_info(f"{INSIDE}/link", tarfile.SYMTYPE, linkname="/etc/passwd")],
    [_info(f"{INSIDE}/link", tarfile.LNKTYPE, linkname="/etc/passwd")],
    [_info(f"{INSIDE}/zero", tarfile.CHRTYPE, devmajor=1, devminor=5)],
    [_info(f"{INSIDE}/disk", tarfile.BLKTYPE)],
    [_info(f"{INSIDE}/pipe", tarfile.FIFOTYPE)],
    [_info(f"{INSIDE}/a"), _info(f"{INSIDE}/a")],
    [_info(f"{INSIDE}/a"), _info(f"{INSIDE}/a/b")],
    [_info(f"{INSIDE}/a/b"), _info(f"{INSIDE}/a")],
    [_info(f"{INSIDE}/a"), _info(f"{INSIDE}/a", tarfile.DIRTYPE)],
    [_info(INSIDE), _info(f"{INSIDE}/a")],
    [_info("opt/inferry")],
    [
        _info(
            f"{INSIDE}/zeros",
            pax_headers={
                "GNU.sparse.major": "0",
                "GNU.sparse.minor": "1",
                "GNU.sparse.name": f"{INSIDE}/zeros",
                "GNU.sparse.size": "1099511627776",
                "GNU.sparse.map": "0,0",
            },
        )
    ],
]


def _stored(shelf: Shelf, plain: bytes, pack: Callable[[bytes], bytes] = gzip.compress) -> Layer:
    digest, size = shelf.store.put([pack(plain)])
    return Layer(digest, size, digest, media_types.LAYER_GZIP)


def _tar(members: list[tarfile.TarInfo]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for info in members:
            archive.addfile(info)
    return target.getvalue()


@pytest.mark.parametrize("members", HOSTILE, ids=lambda members: members[-1].name)
def test_a_hostile_layer_is_refused_and_writes_nothing_outside(
    members: list[tarfile.TarInfo], tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "workspace")
    layer = _stored(shelf, _tar(members))
    (tmp_path / "target").mkdir()
    with pytest.raises(ImageFailedError):
        unpack(shelf.store, layer, tmp_path / "target", lambda: None)
    written = [p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "workspace")]
    assert all(path.is_relative_to(tmp_path / "target") for path in written)
    assert not any(path.is_symlink() for path in written)


def test_names_that_differ_in_case_are_two_files_and_none_is_setuid(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "workspace")
    names = ("Tool", "tool", "TOOL", "caf\u00e9", "cafe\u0301")
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in names:
            data = name.encode()
            info = _info(f"{INSIDE}/{name}", size=len(data), mode=0o6777, uid=0, gid=0)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "target").mkdir()
    unpack(shelf.store, _stored(shelf, target.getvalue()), tmp_path / "target", lambda: None)
    for name in names:
        found = tmp_path / "target" / INSIDE / name
        assert found.read_bytes() == name.encode()
        assert found.stat().st_mode & 0o7777 == 0o555


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_a_layer_that_ends_early_or_is_no_archive_is_said(cut: int, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "workspace")
    whole = _tar([_info(f"{INSIDE}/{name}") for name in "abcdefgh"])
    for layer in (
        _stored(shelf, whole, lambda data: gzip.compress(data)[:cut]),
        _stored(shelf, b"no tar" * cut),
        _stored(shelf, b"", lambda data: b"no gzip" * cut),
    ):
        (tmp_path / layer.digest).mkdir()
        with pytest.raises(ImageFailedError, match="cannot be read"):
            unpack(shelf.store, layer, tmp_path / layer.digest, lambda: None)


def test_a_layer_of_ours_comes_back_and_read_only(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "workspace")
    entries = [
        bytes_entry(f"{INSIDE}/a/b.py", b"b" * 5_000_000),
        bytes_entry(f"{INSIDE}/tool", b"#!", is_executable=True),
    ]
    target = tmp_path / "target"
    for compress in (True, False):
        target.mkdir()
        layer = shelf.layer("dependencies", *entries, compress=compress).layer
        unpack(shelf.store, layer, target, lambda: None)
        protect(target)
        assert (target / INSIDE / "a/b.py").read_bytes() == b"b" * 5_000_000
        assert (target / INSIDE / "a/b.py").stat().st_mode & 0o777 == 0o444
        assert (target / INSIDE / "tool").stat().st_mode & 0o777 == 0o555
        assert (target / INSIDE).stat().st_mode & 0o777 == 0o555
        remove(target)
        assert not target.exists()


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o750)
    (tmp_path / "kept/file").touch()
    (tmp_path / "target").mkdir()
    (tmp_path / "target/link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "target")
    assert (tmp_path / "kept/file").exists()
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o750
