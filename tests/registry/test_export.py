"""What export writes: whole, verified, always the same, and never over what is there."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace, media_types
from registry.blobs import BlobStore
from registry.errors import (
    CancelledError,
    DamagedBlobError,
    ImageFailedError,
    InvalidNameError,
    InvalidSourceError,
    TargetError,
    TargetExistsError,
)
from registry.export import docker_name, export_docker, export_oci, exported_bytes
from registry.layers import Layer
from registry.paths import WorkspacePaths
from tests.registry.store_check import contents
from tests.registry.stored_image import digest_of, encoded, put_image, put_manifest, put_referrer

Write = Callable[..., object]


@pytest.fixture
def store(workspace: Workspace) -> BlobStore:
    """The store of a new workspace."""
    return BlobStore(WorkspacePaths(workspace.root))


def _files(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        found = {info.name: archive.extractfile(info) for info in archive}
        return {name: file.read() for name, file in found.items() if file is not None}


def _oci(store: BlobStore, digest: str, target: Path, **how: Any) -> None:
    export_oci(store, digest, [], "digits:3", target, **how)


def _docker(store: BlobStore, digest: str, target: Path, **how: Any) -> None:
    export_docker(store, digest, "digits:3", target, **how)


EVERY = pytest.mark.parametrize(
    ("write", "name"), [(_oci, "out"), (_oci, "out.tar"), (_docker, "out.tar")]
)


def _check_layout(files: dict[str, bytes], digest: str) -> list[dict[str, Any]]:
    """A whole layout; the manifests that its index names."""
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    for path, data in files.items():
        if path.startswith("blobs/"):
            assert path == f"blobs/{digest_of(data).replace(':', '/')}"
    manifests: list[dict[str, Any]] = json.loads(files["index.json"])["manifests"]
    assert manifests[0]["digest"] == digest
    for found in manifests:
        data = files[f"blobs/{found['digest'].replace(':', '/')}"]
        assert found["size"] == len(data)
        document = json.loads(data)
        for part in [document["config"], *document["layers"]]:
            assert len(files[f"blobs/{part['digest'].replace(':', '/')}"]) == part["size"]
    return manifests


def test_a_layout_has_the_image_and_its_referrers(store: BlobStore, tmp_path: Path) -> None:
    digest = put_image(store)
    referrer = put_referrer(store, digest)
    written = export_oci(store, digest, [referrer], "digits:3", tmp_path / "out")
    export_oci(store, digest, [referrer], "digits:3", tmp_path / "out.tar")
    files = contents(written)
    assert files == _files(tmp_path / "out.tar")
    image, other = _check_layout(files, digest)
    assert image["annotations"] == {"org.opencontainers.image.ref.name": "digits:3"}
    assert other == referrer
    assert len(files) == 2 + 4 + 3


def test_a_tar_for_docker_is_a_layout_too(store: BlobStore, tmp_path: Path) -> None:
    digest = put_image(store)
    export_docker(store, digest, "team/digits:3", tmp_path / "out.tar")
    files = _files(tmp_path / "out.tar")
    (image,) = _check_layout(files, digest)
    assert image["annotations"] == {
        "io.containerd.image.name": "docker.io/team/digits:3",
        "org.opencontainers.image.ref.name": "3",
    }
    (known,) = json.loads(files["manifest.json"])
    assert known["RepoTags"] == ["team/digits:3"]
    assert {known["Config"], *known["Layers"]} < files.keys()
    stream = io.BytesIO()
    export_docker(store, digest, "team/digits:3", stream)
    assert stream.getvalue() == (tmp_path / "out.tar").read_bytes()


@EVERY
def test_the_same_image_gives_the_same_bytes(
    store: BlobStore, tmp_path: Path, write: Write, name: str
) -> None:
    digest = put_image(store)
    written = []
    for folder in ("one", "two"):
        write(store, digest, tmp_path / folder / name)
        path = tmp_path / folder / name
        written.append(contents(path) if path.is_dir() else path.read_bytes())
        os.utime(store.paths.blob(digest), (1, 1))
    assert written[0] == written[1]


@EVERY
def test_progress_is_told_of_each_byte(
    store: BlobStore, tmp_path: Path, write: Write, name: str
) -> None:
    digest = put_image(store)
    told: list[int] = []
    write(store, digest, tmp_path / name, on_bytes=told.append)
    assert sum(told) == exported_bytes(store, digest) > 5000


@EVERY
def test_what_is_there_is_not_overwritten_unless_forced(
    store: BlobStore, tmp_path: Path, write: Write, name: str
) -> None:
    digest = put_image(store)
    target = tmp_path / name
    write(store, digest, target)
    before = contents(tmp_path)
    with pytest.raises(TargetExistsError, match="is there already"):
        write(store, digest, target)
    assert contents(tmp_path) == before
    if target.is_dir():
        (target / "index.json").write_text("{}")
    else:
        target.write_text("old")
    write(store, digest, target, force=True)
    assert contents(tmp_path) == before


@EVERY
def test_no_folder_of_something_else_is_ever_removed(
    store: BlobStore, tmp_path: Path, write: Write, name: str
) -> None:
    digest = put_image(store)
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("mine")
    for force in (False, True):
        with pytest.raises(TargetExistsError):
            write(store, digest, tmp_path / name, force=force)
    assert (tmp_path / name / "thesis.tex").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "ws"])


@EVERY
@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "gone"])
def test_a_damaged_blob_leaves_nothing(
    store: BlobStore, tmp_path: Path, write: Write, name: str, damage: str
) -> None:
    digest = put_image(store)
    layer = json.loads(store.read(digest))["layers"][1]
    path = store.paths.blob(layer["digest"])
    path.chmod(0o644)
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        changed = {"changed": b"x" + data[1:], "longer": data + b"x", "shorter": data[:-1]}
        path.write_bytes(changed[damage])
    with pytest.raises(DamagedBlobError):
        write(store, digest, tmp_path / "new" / name)
    assert not list((tmp_path / "new").iterdir())


@EVERY
def test_a_size_that_lies_leaves_nothing(
    store: BlobStore, tmp_path: Path, write: Write, name: str
) -> None:
    data, size = store.put([bytes(1000)])
    for claim in (size - 1, size + 1, 0, 2**40):
        layer = Layer(data, claim, data)
        digest = put_manifest(store, media_types.CONFIG, b"{}", [layer], {})
        with pytest.raises(DamagedBlobError, match="another size"):
            write(store, digest, tmp_path / "new" / name)
    assert not list((tmp_path / "new").iterdir())


@EVERY
def test_cancel_leaves_nothing(store: BlobStore, tmp_path: Path, write: Write, name: str) -> None:
    digest = put_image(store)

    def cancel(_: int) -> None:
        raise CancelledError("cancelled on request")

    with pytest.raises(CancelledError):
        write(store, digest, tmp_path / "new" / name, on_bytes=cancel)
    assert not list((tmp_path / "new").iterdir())


@EVERY
@pytest.mark.parametrize(
    "part",
    [
        {"digest": "sha256:../../../../etc/cron.d/x", "size": 1, "mediaType": "x"},
        {"digest": "../escaped", "size": 1, "mediaType": "x"},
        {"digest": "sha512:" + "0" * 128, "size": 1, "mediaType": "x"},
        {"digest": "sha256:" + "0" * 64, "size": "1", "mediaType": "x"},
        {"digest": 5, "size": 1, "mediaType": "x"},
        {"size": 1},
        "text",
        None,
    ],
)
def test_a_manifest_that_points_elsewhere_is_refused(
    store: BlobStore, tmp_path: Path, write: Write, name: str, part: object
) -> None:
    config, size = store.put([b"{}"])
    document = {
        "config": {"mediaType": media_types.CONFIG, "digest": config, "size": size},
        "layers": [part],
    }
    digest, _ = store.put([encoded(document)])
    with pytest.raises(ImageFailedError, match="manifest that cannot be read"):
        write(store, digest, tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b"\xff", b'"x"'])
def test_a_document_that_is_no_manifest_is_refused(
    store: BlobStore, tmp_path: Path, data: bytes
) -> None:
    digest, _ = store.put([data])
    with pytest.raises(ImageFailedError):
        _oci(store, digest, tmp_path / "out")


def test_what_is_no_container_is_no_tar_for_docker(store: BlobStore, tmp_path: Path) -> None:
    digest = put_image(store, extra={"artifactType": media_types.BUNDLE})
    with pytest.raises(InvalidSourceError, match="OCI layout instead"):
        _docker(store, digest, tmp_path / "out.tar")
    _oci(store, digest, tmp_path / "out")


@pytest.mark.parametrize(
    ("tag", "full"),
    [
        ("digits:3", "docker.io/library/digits:3"),
        ("team/digits:v1.0_x", "docker.io/team/digits:v1.0_x"),
        ("localhost:5000/digits:3", "localhost:5000/digits:3"),
        ("localhost/digits:3", "localhost/digits:3"),
        ("127.0.0.1:5000/a/b__c/d-e.f:3", "127.0.0.1:5000/a/b__c/d-e.f:3"),
        ("some-host:80/digits:3", "some-host:80/digits:3"),
    ],
)
def test_docker_names(tag: str, full: str) -> None:
    assert docker_name(tag) == full


@pytest.mark.parametrize(
    "tag",
    ["", "digits", "Digits:3", "a//b:1", "/a:1", "a/:1", "a:1:2", "a b:1", "../a:1", "a:1\n",
     "a:$(id)", "-a:1", "a..b:1", "a:" + "1" * 129, "é:1", "a@sha256:1"],
)  # fmt: skip
def test_names_that_docker_would_not_take_are_refused(
    store: BlobStore, tmp_path: Path, tag: str
) -> None:
    with pytest.raises(InvalidNameError):
        export_docker(store, put_image(store), tag, tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()


@pytest.mark.parametrize("name", ["", "a b", "\n", "-x", "x" * 300, "$(id)"])
def test_names_of_a_layout_are_checked(store: BlobStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidNameError):
        export_oci(store, put_image(store), [], name, tmp_path / "out")


def test_a_target_below_a_file_is_refused(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("out", "out.tar"):
        with pytest.raises(TargetError):
            _oci(store, put_image(store), tmp_path / "file" / name)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
@EVERY
def test_a_full_disk_leaves_nothing(
    store: BlobStore, tmp_path: Path, write: Write, name: str
) -> None:
    big, size = store.put(bytes(1024 * 1024) for _ in range(3))
    digest = put_manifest(store, media_types.CONFIG, b"{}", [Layer(big, size, big)], {})
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "inferry-test", disk], check=True)
    try:
        with pytest.raises(TargetError, match="No space left"):
            write(store, digest, disk / name)
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)
