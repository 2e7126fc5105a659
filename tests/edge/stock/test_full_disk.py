"""A disk without a free byte: what is there can be used, what comes is refused, in one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import NoSpaceError
from edge.stock.device_stock import DeviceStock
from registry.errors import StoreFullError
from tests.edge.stock.signed_images import put_image, stored

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs"),
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


@pytest.mark.parametrize("boot", ["b1", "b2"])
@pytest.mark.parametrize("is_clean", [True, False])
def test_a_stock_opens_and_serves_on_a_full_disk(
    small_disk: Path, boot: str, is_clean: bool
) -> None:
    stock = DeviceStock(small_disk, reserve_bytes=0, boot_id="b1")
    digest = stored(stock, put_image(stock.blobs, b"w" * 100_000))
    bundle = stock.bundle(digest)
    if is_clean:
        stock.close()
    else:
        stock._marks.close()
    ballast = _fill(small_disk)
    with closing(DeviceStock(small_disk, reserve_bytes=0, boot_id=boot)) as found:
        assert found.has(digest)
        assert found.bundle(digest) == bundle
        found.used(digest)
        with pytest.raises(StoreFullError):
            stored(found, put_image(found.blobs, b"w" * 100_000, version=2))
        ballast.unlink()
        other = stored(found, put_image(found.blobs, b"w" * 100_000, version=2))
        assert found.bundle(other).is_dir()


def test_an_unpacking_that_fills_the_disk_leaves_nothing(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(DeviceStock(small_disk, reserve_bytes=0, boot_id="b1")) as stock:
        digest = stored(stock, put_image(stock.blobs, b"w" * 1_000_000))
        monkeypatch.setattr(stock, "_check_room", lambda image: None)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(stock.free_bytes() - 300_000))
        with pytest.raises(NoSpaceError):
            stock.bundle(digest)
        assert list(stock._bundles.iterdir()) == []
        ballast.unlink()
        assert stock.bundle(digest).is_dir()
