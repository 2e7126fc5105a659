"""Models: versions, records, files, and what happens when the store is damaged."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import (
    DamagedBlobError,
    ImmutableError,
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
    RegistryError,
    TargetExistsError,
)
from tests.registry import onnx_files
from tests.registry.store_check import (
    assert_clean,
    assert_no_leftovers,
    blob_folder,
    blob_path,
    contents,
    downloaded,
)

Damage = Callable[[Path], None]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with files of all sizes, an empty one, and names that need care."""
    folder = tmp_path / "source"
    chance = random.Random(1)
    for path, size in {
        "model.onnx.txt": 10,
        "empty": 0,
        "a b/ü ñ 日本.bin": 70_000,
        "a b/deep/er/x": 1,
        ".hidden": 5,
        "-rf": 5,
        "big.bin": 3_000_001,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(chance.randbytes(size))
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small file to register."""
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    return file


def _flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def _remove(path: Path) -> None:
    path.unlink()


DAMAGES = [_flip, _truncate, _remove]


def test_a_file_becomes_version_one(workspace: Workspace, small: Path) -> None:
    model = workspace.models.register(
        small, name="m", tags={"k": "v"}, properties={"p": "q"}, description="A model.\nOf mine."
    )
    assert (model.reference, model.size_bytes, model.description) == (
        "m:1",
        7,
        "A model.\nOf mine.",
    )
    assert (model.tags, model.properties) == ({"k": "v"}, {"p": "q"})
    assert [file.path for file in model.files] == ["weights.bin"]
    assert model.digest.startswith("sha256:")
    assert (model.signature, model.entry) == (None, None)
    assert workspace.models.get("m:1") == model


def test_a_folder_comes_back_bit_for_bit(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    workspace.models.register(source, name="m")
    assert workspace.models.download("m", tmp_path / "out") == tmp_path / "out"
    assert contents(tmp_path / "out") == contents(source)
    assert_clean(workspace)


def test_equal_content_has_an_equal_digest_and_is_stored_once(
    workspace: Workspace, source: Path
) -> None:
    first = workspace.models.register(source, name="a")
    count = len(list(blob_folder(workspace).iterdir()))
    second = workspace.models.register(source, name="b")
    assert second.digest == first.digest
    assert len(list(blob_folder(workspace).iterdir())) == count
    (source / "-rf").rename(source / "renamed")
    assert workspace.models.register(source, name="c").digest != first.digest


def test_stored_files_are_read_only(workspace: Workspace, source: Path) -> None:
    workspace.models.register(source, name="m")
    assert {path.stat().st_mode & 0o777 for path in blob_folder(workspace).iterdir()} == {0o444}


def test_the_original_may_change_afterwards(workspace: Workspace, small: Path) -> None:
    workspace.models.register(small, name="m")
    small.write_bytes(b"other")
    assert downloaded(workspace, "m") == {"weights.bin": b"weights"}


def test_progress_ends_at_the_size(workspace: Workspace, source: Path) -> None:
    calls: list[tuple[int, int]] = []
    model = workspace.models.register(
        source, name="m", on_progress=lambda done, total: calls.append((done, total))
    )
    assert calls == sorted(calls)
    assert calls[-1] == (model.size_bytes, model.size_bytes)


def test_the_clock_gives_the_time(tmp_path: Path, small: Path) -> None:
    workspace = Workspace.init(tmp_path / "clocked", clock=lambda: "2031-02-03T04:05:06Z")
    assert workspace.models.register(small, name="m").created_at == "2031-02-03T04:05:06Z"


def test_a_version_number_is_never_used_again(workspace: Workspace, small: Path) -> None:
    assert [workspace.models.register(small, name="m").version for _ in range(3)] == [1, 2, 3]
    workspace.models.delete("m:3")
    workspace.models.delete("m:1")
    assert workspace.models.register(small, name="m").version == 4
    for reference in ("m:4", "m:2"):
        workspace.models.delete(reference)
    assert workspace.models.list() == []
    assert workspace.models.register(small, name="m").version == 5


def test_a_refused_registration_uses_no_number(
    workspace: Workspace, small: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSourceError):
        workspace.models.register(tmp_path / "absent", name="m")
    assert workspace.models.register(small, name="m").version == 1


def test_latest_is_the_newest_that_is_left(workspace: Workspace, small: Path) -> None:
    for _ in range(11):
        workspace.models.register(small, name="m")
    assert workspace.models.get("m").version == 11
    assert workspace.models.get("m:latest").version == 11
    assert workspace.models.get("m:2").version == 2
    workspace.models.delete("m:11")
    assert workspace.models.get("m").version == 10


@pytest.mark.parametrize("reference", ["absent", "m:2", "m:999999999", "M"])
def test_what_is_not_there_is_not_found(
    workspace: Workspace, small: Path, tmp_path: Path, reference: str
) -> None:
    workspace.models.register(small, name="m")
    for act in (
        workspace.models.get,
        workspace.models.delete,
        lambda ref: workspace.models.tag(ref, set={"a": "b"}),
        lambda ref: workspace.models.describe(ref, "x"),
        lambda ref: workspace.models.add_properties(ref, {"a": "b"}),
        lambda ref: workspace.models.download(ref, tmp_path / "out"),
        lambda ref: workspace.models.bundle(ref, tmp_path / "out"),
    ):
        with pytest.raises(NotFoundError, match="there is no model"):
            act(reference)
    assert not (tmp_path / "out").exists()


def test_deleting_of_several_versions_needs_the_version(workspace: Workspace, small: Path) -> None:
    workspace.models.register(small, name="m")
    workspace.models.register(small, name="m")
    with pytest.raises(NotFoundError, match="2 versions; say which one"):
        workspace.models.delete("m")
    assert len(workspace.models.list()) == 2
    assert workspace.models.delete("m:1").reference == "m:1"
    assert workspace.models.delete("m").reference == "m:2"


def test_a_deleted_model_is_freed_by_purge_and_shared_files_stay(
    workspace: Workspace, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shared").write_bytes(b"both")
        (tmp_path / name / "own").write_bytes(name.encode() * 1000)
        workspace.models.register(tmp_path / name, name=name)
    workspace.models.delete("a")
    before = set(blob_folder(workspace).iterdir())
    would = workspace.purge(dry_run=True)
    assert set(blob_folder(workspace).iterdir()) == before
    did = workspace.purge()
    assert did == would
    assert did.blobs == 2  # its own file and its manifest
    assert did.size_bytes > 1000
    assert downloaded(workspace, "b")["shared"] == b"both"
    assert_clean(workspace)
    assert workspace.purge().blobs == 0


def test_tags_are_set_replaced_and_removed(workspace: Workspace, small: Path) -> None:
    workspace.models.register(small, name="m", tags={"a": "1", "b": "2"})
    assert workspace.models.tag("m", set={"b": "3", "c": ""}).tags == {"a": "1", "b": "3", "c": ""}
    assert workspace.models.tag("m", remove=["a", "absent"]).tags == {"b": "3", "c": ""}
    assert workspace.models.get("m:1").tags == {"b": "3", "c": ""}


def test_tags_belong_to_one_version(workspace: Workspace, small: Path) -> None:
    workspace.models.register(small, name="m", tags={"a": "1"})
    assert workspace.models.register(small, name="m").tags == {}
    workspace.models.tag("m:2", set={"b": "2"})
    assert workspace.models.get("m:1").tags == {"a": "1"}


def test_properties_are_added_and_never_changed(workspace: Workspace, small: Path) -> None:
    workspace.models.register(small, name="m", properties={"p": "1"})
    both = {"p": "1", "q": "2"}
    assert workspace.models.add_properties("m", {"q": "2"}).properties == both
    assert workspace.models.add_properties("m", {"p": "1"}).properties == both
    with pytest.raises(ImmutableError, match="'p'"):
        workspace.models.add_properties("m", {"new": "x", "p": "other"})
    assert workspace.models.get("m").properties == both


def test_the_description_can_be_replaced(workspace: Workspace, small: Path) -> None:
    workspace.models.register(small, name="m", description="old")
    assert workspace.models.describe("m", "neu: ü").description == "neu: ü"
    assert workspace.models.get("m").description == "neu: ü"


def test_a_list_is_by_name_and_tags(workspace: Workspace, small: Path) -> None:
    for name, tags in [
        ("a", {"task": "x", "gpu": ""}),
        ("a", {"task": "y"}),
        ("a", {"task": "x=y"}),
        ("b", {"task": "x"}),
        ("c", {}),
    ]:
        workspace.models.register(small, name=name, tags=tags)

    def found(name: str | None = None, *tags: str, latest: bool = False) -> list[str]:
        models = workspace.models.list(name=name, tags=tags, latest=latest)
        return [model.reference for model in models]

    assert found() == ["a:1", "a:2", "a:3", "b:1", "c:1"]
    assert found("a") == ["a:1", "a:2", "a:3"]
    assert found("absent") == []
    assert found(None, "task") == ["a:1", "a:2", "a:3", "b:1"]
    assert found(None, "task=x") == ["a:1", "b:1"]
    assert found(None, "task=x=y") == ["a:3"]
    assert found(None, "gpu=") == ["a:1"]
    assert found("a", "task=x", "gpu") == ["a:1"]
    assert found(latest=True) == ["a:3", "b:1", "c:1"]
    assert found(None, "task=x", latest=True) == ["a:1", "b:1"]


@pytest.mark.parametrize("query", ["", "=", "=v", "a b", "../x=1"])
def test_a_bad_tag_query_is_refused(workspace: Workspace, query: str) -> None:
    with pytest.raises(InvalidNameError):
        workspace.models.list(tags=[query])


def test_a_download_never_overwrites_unless_told(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    workspace.models.register(source, name="m")
    out = tmp_path / "out"
    (out / "a b/deep/er").mkdir(parents=True)
    (out / "a b/deep/er/x").write_bytes(b"mine")
    (out / "other").write_bytes(b"other")
    with pytest.raises(TargetExistsError, match="--force"):
        workspace.models.download("m", out)
    assert contents(out) == {"a b/deep/er/x": b"mine", "other": b"other"}
    workspace.models.download("m", out, force=True)
    assert contents(out) == contents(source) | {"other": b"other"}


def test_a_download_does_not_write_through_a_link(
    workspace: Workspace, small: Path, tmp_path: Path
) -> None:
    workspace.models.register(small, name="m")
    (tmp_path / "victim").write_bytes(b"victim")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/weights.bin").symlink_to(tmp_path / "victim")
    with pytest.raises(TargetExistsError):
        workspace.models.download("m", tmp_path / "out")
    workspace.models.download("m", tmp_path / "out", force=True)
    assert (tmp_path / "victim").read_bytes() == b"victim"
    assert (tmp_path / "out/weights.bin").read_bytes() == b"weights"


@pytest.mark.slow
def test_an_onnx_model_has_its_signature(workspace: Workspace, tmp_path: Path) -> None:
    """Free sizes keep their names; an initializer that is listed as an input is none."""
    model = workspace.models.register(onnx_files.adder(tmp_path / "net.onnx"), name="m")
    assert model.signature is not None
    [taken], [given] = model.signature.inputs, model.signature.outputs
    assert (taken.name, taken.dtype, taken.shape) == ("x", "float32", ("batch", 3))
    assert (given.name, given.dtype, given.shape) == ("y", "float32", ("batch", None))
    assert model.entry == "net.onnx"
    assert workspace.models.get("m") == model


def test_an_onnx_model_of_any_rank_has_no_shape(workspace: Workspace, tmp_path: Path) -> None:
    file = onnx_files.adder(tmp_path / "net.onnx", shape=None)
    signature = workspace.models.register(file, name="m").signature
    assert signature is not None
    assert signature.inputs[0].shape is None


def test_the_entry_is_the_only_onnx_file(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    onnx_files.adder(folder / "deep/net.onnx")
    (folder / "labels.txt").write_text("a\nb\n")
    model = workspace.models.register(folder, name="m")
    assert model.entry == "deep/net.onnx"
    assert model.signature is not None
    onnx_files.adder(folder / "second.onnx")
    model = workspace.models.register(folder, name="m")
    assert (model.entry, model.signature) == (None, None)


def test_a_bundle_holds_the_model(workspace: Workspace, tmp_path: Path) -> None:
    file = onnx_files.adder(tmp_path / "net.onnx")
    workspace.models.register(file, name="m")
    bundle = workspace.models.bundle("m", tmp_path / "bundle")
    assert (bundle / "models/m/1/net.onnx").read_bytes() == file.read_bytes()
    assert set(contents(bundle)) == {"bundle.json", "models/m/1/net.onnx"}


def test_a_model_that_is_not_onnx_has_no_bundle(
    workspace: Workspace, small: Path, tmp_path: Path
) -> None:
    workspace.models.register(small, name="m")
    with pytest.raises(InvalidSourceError, match="--script"):
        workspace.models.bundle("m", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_reported_and_nothing_written(
    workspace: Workspace, tmp_path: Path, damage: Damage
) -> None:
    folder = tmp_path / "net"
    onnx_files.adder(folder / "net.onnx")
    (folder / "zz").write_bytes(b"last")
    model = workspace.models.register(folder, name="m")
    workspace.images.create("i", models=["m"])
    damage(blob_path(workspace, model.files[1].digest))
    for write in (workspace.models.download, workspace.models.bundle):
        with pytest.raises(DamagedBlobError, match=model.files[1].digest):
            write("m", tmp_path / "out")
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    assert not list(tmp_path.glob("**/.inferry-*"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_forced_download_of_a_damaged_file_keeps_the_old_one(
    workspace: Workspace, small: Path, tmp_path: Path, damage: Damage
) -> None:
    model = workspace.models.register(small, name="m")
    damage(blob_path(workspace, model.files[0].digest))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/weights.bin").write_bytes(b"old")
    with pytest.raises(DamagedBlobError):
        workspace.models.download("m", tmp_path / "out", force=True)
    assert contents(tmp_path / "out") == {"weights.bin": b"old"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_registering_again_mends_a_damaged_file(
    workspace: Workspace, small: Path, damage: Damage
) -> None:
    model = workspace.models.register(small, name="m")
    for digest in (model.files[0].digest, model.digest):
        damage(blob_path(workspace, digest))
    assert workspace.models.register(small, name="m").version == 2
    assert downloaded(workspace, "m:1") == {"weights.bin": b"weights"}
    assert_clean(workspace)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_loses_no_file_in_purge(
    workspace: Workspace, small: Path, damage: Damage
) -> None:
    model = workspace.models.register(small, name="m")
    damage(blob_path(workspace, model.digest))
    workspace.purge()
    assert downloaded(workspace, "m") == {"weights.bin": b"weights"}


def test_a_file_that_changes_size_while_it_is_read_is_refused(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    """The big file changes while the first one is stored."""
    for size in (3_000_002, 1000):

        def on_progress(done: int, total: int, size: int = size) -> None:
            os.truncate(source / "big.bin", size)

        with pytest.raises(InvalidSourceError, match="changed while it was read"):
            workspace.models.register(source, name="m", on_progress=on_progress)
    assert workspace.models.list() == []
    assert_no_leftovers(workspace)
    workspace.purge()
    assert_clean(workspace)


def test_an_interrupted_registration_leaves_nothing(workspace: Workspace, source: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace.models.register(source, name="m", on_progress=interrupt)
    assert workspace.models.list() == []
    assert_clean(workspace)


def test_every_error_of_a_verb_is_one_line(workspace: Workspace, tmp_path: Path) -> None:
    acts: list[Callable[[], object]] = [
        lambda: workspace.models.get("absent"),
        lambda: workspace.models.get("a\nb"),
        lambda: workspace.models.register(tmp_path / "a\nb", name="m"),
        lambda: workspace.models.register(tmp_path, name="m\r\n"),
    ]
    for act in acts:
        with pytest.raises(RegistryError) as caught:
            act()
        assert str(caught.value).isprintable()
