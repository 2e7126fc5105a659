"""What is whole stays whole or is noticed; what nobody needs goes, the least used first."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from edge.errors import NoSpaceError, NotFoundError, PullError
from edge.stock.bundles import copy_bundle
from edge.stock.device_stock import DeviceStock
from registry.fpga_artifact import FpgaContents, write_artifact
from tests.edge.stock.signed_images import BUNDLE_JSON, put_image, stored
from tests.registry.fpga_folders import DIGITS, FILES, GOLDEN, fpga_folder

BIG = b"w" * 200_000


def reopened(stock: DeviceStock, boot: str, *, is_clean: bool = False) -> DeviceStock:
    """After a restart of the agent, or of the machine when ``boot`` is another."""
    if is_clean:
        stock.close()
    else:
        stock._marks.close()
    state = stock.blobs.paths.root
    return DeviceStock(state, reserve_bytes=stock.reserve_bytes, boot_id=boot)


def spoil(stock: DeviceStock, blob: str) -> None:
    """As a power cut may: same size, other bytes."""
    path = stock.blobs.paths.blob(blob)
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))


def test_an_image_without_a_mark_is_not_there(stock: DeviceStock) -> None:
    image = put_image(stock.blobs)
    assert not stock.has(image.digest)
    for ask in (stock.image, stock.bundle, stock.golden):
        with pytest.raises(NotFoundError, match="not on this device"):
            ask(image.digest)
    digest = stored(stock, image)
    assert stock.has(digest)
    found = stock.image(digest)
    assert (found.name, found.version, found.kind) == ("digits", 1, "bundle")
    assert stock.referrers(digest) == image.referrers


def test_a_mark_of_what_lacks_a_blob_is_refused(stock: DeviceStock) -> None:
    image = put_image(stock.blobs)
    stock.blobs.paths.blob(image.model).unlink()
    with pytest.raises(PullError, match="lacks"):
        stored(stock, image)
    assert not stock.has(image.digest)


def test_a_blob_that_is_gone_makes_the_image_incomplete(stock: DeviceStock) -> None:
    image = put_image(stock.blobs)
    digest = stored(stock, image)
    stock.blobs.paths.blob(image.model).unlink()
    assert not stock.has(digest)


def test_damage_is_found_after_a_boot_and_only_then(stock: DeviceStock) -> None:
    image = put_image(stock.blobs)
    digest = stored(stock, image)
    spoil(stock, image.model)
    same_boot = reopened(stock, "b1")
    assert same_boot.has(digest)
    with closing(reopened(same_boot, "b2")) as next_boot:
        assert not next_boot.has(digest)
        assert not next_boot.blobs.has(image.model)
        others = set(image.all_blobs) - {image.model}
        assert all(next_boot.blobs.has(blob) for blob in others), "they need not come again"


def test_after_a_stop_in_order_nothing_is_hashed(stock: DeviceStock) -> None:
    image = put_image(stock.blobs)
    digest = stored(stock, image)
    spoil(stock, image.model)
    with closing(reopened(stock, "b2", is_clean=True)) as next_boot:
        assert next_boot.has(digest)
    # A machine that goes off while the agent runs did not stop in order.
    with closing(reopened(reopened(next_boot, "b3", is_clean=True), "b4")) as cut:
        assert not cut.has(digest)


def test_a_blob_is_hashed_once_in_a_boot(
    stock: DeviceStock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = stored(stock, put_image(stock.blobs))
    with closing(reopened(stock, "b2")) as found:
        opened: list[str] = []
        open_unverified = found.blobs.open_unverified

        def counted(blob: str) -> IO[bytes]:
            opened.append(blob)
            return open_unverified(blob)

        monkeypatch.setattr(found.blobs, "open_unverified", counted)
        assert found.has(digest)
        assert found.has(digest)
        assert len(opened) == len(set(opened)) > 4


def test_hashing_after_a_boot_can_be_stopped(stock: DeviceStock) -> None:
    digest = stored(stock, put_image(stock.blobs))

    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    with closing(reopened(stock, "b2")) as found:
        with pytest.raises(StopError):
            found.has(digest, stop)
        assert found.has(digest)


def test_a_blob_that_proves_damaged_while_it_is_read_is_forgotten(stock: DeviceStock) -> None:
    image = put_image(stock.blobs)
    digest = stored(stock, image)
    spoil(stock, image.model)
    with pytest.raises(PullError, match="fetched again") as caught:
        list(stock.chunks(image.model))
    assert caught.value.is_temporary
    assert not stock.has(digest)


def test_a_bundle_is_unpacked_once_and_read_only(stock: DeviceStock) -> None:
    digest = stored(stock, put_image(stock.blobs, BIG))
    folder = stock.bundle(digest)
    assert (folder / "bundle.json").read_bytes() == BUNDLE_JSON
    assert (folder / "models/net/1/w.bin").read_bytes() == BIG
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o555 if path.is_dir() else 0o444)
    inode = folder.stat().st_ino
    assert stock.bundle(digest) == folder
    assert folder.stat().st_ino == inode
    assert [path.name for path in folder.parent.iterdir()] == [digest.removeprefix("sha256:")]


def test_a_bundle_stays_over_a_boot_unless_it_is_spoiled(stock: DeviceStock) -> None:
    digest = stored(stock, put_image(stock.blobs, BIG))
    inode = stock.bundle(digest).stat().st_ino
    second = reopened(stock, "b2")
    assert second.bundle(digest).stat().st_ino == inode
    weights = second.bundle(digest) / "models/net/1/w.bin"
    weights.chmod(0o644)
    weights.write_bytes(bytes(len(BIG)))
    with closing(reopened(second, "b3")) as third:
        assert (third.bundle(digest) / "models/net/1/w.bin").read_bytes() == BIG


@pytest.mark.parametrize("change", ["shorter", "longer", "more", "less", "link"])
def test_any_difference_in_a_bundle_is_noticed(stock: DeviceStock, change: str) -> None:
    digest = stored(stock, put_image(stock.blobs, BIG))
    folder = stock.bundle(digest)
    path = folder / "models/net/1/w.bin"
    path.parent.chmod(0o755)
    path.chmod(0o644)
    if change == "shorter":
        path.write_bytes(BIG[:-1])
    elif change == "longer":
        path.write_bytes(BIG + b"w")
    elif change == "more":
        (path.parent / "more").write_bytes(b"")
    else:
        path.unlink()
        if change == "link":
            path.symlink_to("/etc/passwd")
    with closing(reopened(stock, "b2")) as found:
        folder = found.bundle(digest)
        assert (folder / "models/net/1/w.bin").read_bytes() == BIG
        assert len(list(folder.rglob("*"))) == 7


def test_an_unpacking_that_was_cut_leaves_nothing(stock: DeviceStock) -> None:
    left = stock._bundles / ".halfway"
    (left / "opt").mkdir(parents=True)
    (left / "opt").chmod(0o555)
    upload = stock.blobs.paths.uploads / "tmpabc"
    upload.write_bytes(b"x")
    with closing(reopened(stock, "b1")):
        assert not left.exists()
        assert not upload.exists()


def test_a_copy_of_a_bundle_takes_no_space_and_is_whole(stock: DeviceStock, tmp_path: Path) -> None:
    bundle = stock.bundle(stored(stock, put_image(stock.blobs, BIG)))
    target = tmp_path / "module" / "copy"
    target.parent.mkdir()
    copy_bundle(bundle, target)
    copy_bundle(bundle, target)
    one, other = bundle / "models/net/1/w.bin", target / "models/net/1/w.bin"
    assert one.stat().st_ino == other.stat().st_ino
    assert [path.name for path in target.parent.iterdir()] == ["copy"]


def test_golden_inputs_are_read_without_unpacking(stock: DeviceStock) -> None:
    golden = b'{"v": 1, "cases": []}'
    plain, with_golden = put_image(stock.blobs), put_image(stock.blobs, version=2, golden=golden)
    assert stock.golden(stored(stock, plain)) is None
    assert stock.golden(stored(stock, with_golden)) == golden
    assert list(stock._bundles.iterdir()) == []


def test_an_fpga_artifact_is_unpacked_as_a_bundle(stock: DeviceStock, tmp_path: Path) -> None:
    contents = FpgaContents(fpga_folder(tmp_path / "fpga"), GOLDEN)
    made = write_artifact(stock.blobs, "digits-fpga", 1, contents, [DIGITS], lambda _: None)
    stock.mark(made.manifest, dict(made.blobs), [])
    assert stock.image(made.manifest).kind == "fpga"
    folder = stock.bundle(made.manifest)
    assert (folder / "fpga/load.bin").read_bytes() == FILES["load.bin"]
    assert folder.stat().st_mode & 0o777 == 0o555
    assert stock.golden(made.manifest) == GOLDEN
    with closing(reopened(stock, "b2")) as found:
        assert (found.bundle(made.manifest) / "fpga/design.bit").is_file()


def test_an_fpga_artifact_without_golden_inputs_has_none(
    stock: DeviceStock, tmp_path: Path
) -> None:
    contents = FpgaContents(fpga_folder(tmp_path / "fpga"))
    made = write_artifact(stock.blobs, "digits-fpga", 1, contents, [DIGITS], lambda _: None)
    stock.mark(made.manifest, dict(made.blobs), [])
    assert stock.golden(made.manifest) is None


@pytest.fixture
def disk(stock: DeviceStock, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """``[free]``: bytes above the reserve; what the stock removes comes to it."""
    root = stock.blobs.paths.root

    def taken() -> int:
        files = [p for p in root.rglob("*") if p.is_file() and "stock.db" not in p.name]
        return sum({p.stat().st_ino: p.stat().st_size for p in files}.values())

    free = [0]
    before: list[int] = []

    def free_bytes() -> int:
        if not before:
            before.append(taken())
        return free[0] + before[0] - taken()

    monkeypatch.setattr(stock, "free_bytes", free_bytes)
    return free


def test_the_least_recently_used_goes_first_and_no_more_than_needed(
    stock: DeviceStock, disk: list[int]
) -> None:
    images = [
        stored(stock, put_image(stock.blobs, os.urandom(100_000), version=n)) for n in range(1, 5)
    ]
    stock.used(images[0])
    collected = stock.collect([images[1]], 50_000)
    assert [stock.has(each) for each in images] == [True, True, False, True]
    assert collected.images == 1
    assert collected.size_bytes > 100_000
    assert stock.collect([images[1]], 50_000).images == 0, "there is room"
    assert stock.collect([images[1]], 10**9).images == 2
    assert [stock.has(each) for each in images] == [False, True, False, False]


def test_layers_and_bundles_that_others_need_stay(stock: DeviceStock, disk: list[int]) -> None:
    old = put_image(stock.blobs, BIG)
    new = put_image(stock.blobs, BIG, code={"code/more.py": b"x = 1\n"})
    assert old.model == new.model
    disk[0] = 10**7
    for each in (old, new):
        stock.bundle(stored(stock, each))
    stock.collect([new.digest], 10**9)
    assert not stock.has(old.digest)
    assert stock.has(new.digest)
    assert stock.bundle(new.digest).is_dir()
    assert [p.name for p in stock._bundles.iterdir()] == [new.digest.removeprefix("sha256:")]


def test_what_is_being_pulled_stays(stock: DeviceStock, disk: list[int]) -> None:
    coming = put_image(stock.blobs, BIG)
    part = stock.parts / f"{'e' * 64}.part"
    part.write_bytes(b"half")
    with stock.holding([*coming.blobs, f"sha256:{'e' * 64}"]):
        stock.collect([], 10**9)
        assert part.exists()
        assert set(coming.blobs) <= {f"sha256:{p.name}" for p in stock.blobs.paths.blobs.iterdir()}
        assert not stock.blobs.has(coming.digest)
    stock.collect([], 10**9)
    assert list(stock.parts.iterdir()) == list(stock.blobs.paths.blobs.iterdir()) == []


def test_a_pull_that_waits_loses_its_parts_last(stock: DeviceStock, disk: list[int]) -> None:
    old = stored(stock, put_image(stock.blobs, BIG))
    part = stock.parts / f"{'e' * 64}.part"
    part.write_bytes(BIG)
    stock.collect([], 50_000)
    assert not stock.has(old)
    assert part.exists()
    stock.collect([], 10**9)
    assert not part.exists()


def test_a_bundle_that_does_not_fit_is_not_begun(stock: DeviceStock, disk: list[int]) -> None:
    digest = stored(stock, put_image(stock.blobs, BIG))
    with pytest.raises(NoSpaceError, match=r"unpacking digits needs 0 MB.*free some"):
        stock.bundle(digest)
    disk[0] = 10**9
    stock.bundle(digest)
    disk[0] = -(10**9)
    stock.bundle(digest)  # it is there: a module starts on a full disk


def test_the_reserve_is_not_free(stock: DeviceStock) -> None:
    free = stock.free_bytes()
    stock.reserve_bytes = 10**15
    assert stock.free_bytes() < 0 < free


def test_images_are_found_again_when_their_list_is_lost(stock: DeviceStock) -> None:
    images = [put_image(stock.blobs, BIG, version=n) for n in (1, 2)]
    lacking = put_image(stock.blobs, os.urandom(1000), version=3)
    for each in images:
        stored(stock, each)
    stock.blobs.paths.blob(lacking.model).unlink()
    stock.blobs.put([b"{not JSON"])
    stock.blobs.put([b'{"layers": [7], "config": {}}'])
    stock.blobs.put([b'{"layers": [{}], "subject": {"digest": "../etc"}}'])
    stock.blobs.put([b'{"layers": 7}'])
    stock.close()
    path = stock.blobs.paths.store / "stock.db"
    path.write_bytes(b"this is no database, but a page of something else" * 100)
    with closing(DeviceStock(stock.blobs.paths.root, reserve_bytes=0, boot_id="b1")) as found:
        assert [found.has(each.digest) for each in (*images, lacking)] == [True, True, False]
        assert set(found.referrers(images[0].digest)) == set(images[0].referrers)
        assert found.image(images[1].digest).version == 2
    assert path.with_suffix(".damaged").exists()


def test_what_is_found_again_is_hashed(stock: DeviceStock) -> None:
    image = put_image(stock.blobs, BIG)
    digest = stored(stock, image)
    spoil(stock, image.model)
    stock.close()
    (stock.blobs.paths.store / "stock.db").unlink()
    with closing(DeviceStock(stock.blobs.paths.root, reserve_bytes=0, boot_id="b1")) as found:
        assert not found.has(digest)


def test_a_list_that_cannot_be_written_stops_no_module(
    stock: DeviceStock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = stored(stock, put_image(stock.blobs))
    stored(stock, put_image(stock.blobs, version=2))
    with closing(reopened(stock, "b2")) as found:
        _full_from_now(found)
        assert found.has(digest)
        assert found.bundle(digest).is_dir()
        with pytest.raises(NoSpaceError):
            stored(found, put_image(found.blobs, version=3))


def _full_from_now(stock: DeviceStock) -> None:
    """SQLite is out of disk."""
    connection = stock._marks._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]

    class Full:
        def execute(self, statement: str, *rest: object) -> sqlite3.Cursor:
            if statement.startswith(("INSERT", "UPDATE", "DELETE")):
                raise sqlite3.OperationalError("database or disk is full")
            return connection.execute(statement, *rest)  # type: ignore[arg-type]

        def close(self) -> None:
            connection.close()

    assert pages
    stock._marks._connection = Full()  # type: ignore[assignment]


def test_threads_that_ask_for_one_bundle_get_one(stock: DeviceStock) -> None:
    digest = stored(stock, put_image(stock.blobs, BIG))
    with closing(reopened(stock, "b2")) as found:
        folders: list[Path] = []
        threads = [
            threading.Thread(target=lambda: folders.append(found.bundle(digest))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(folders) == 8
        assert len(set(folders)) == 1
    shutil.rmtree(stock._bundles, ignore_errors=True)
