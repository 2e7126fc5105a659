"""FPGA images as OCI artifacts: the same every time, and nothing hostile gets in or out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace, media_types
from registry.blobs import BlobStore
from registry.errors import (
    CancelledError,
    DamagedBlobError,
    ImageFailedError,
    InvalidSourceError,
    RegistryError,
    TargetExistsError,
)
from registry.export import export_docker, export_oci
from registry.fpga_artifact import (
    ARTIFACT,
    BITSTREAM,
    ENGINE,
    HARDWARE,
    MANIFEST,
    PARTS,
    PROVENANCE,
    TITLE,
    WEIGHTS,
    FpgaContents,
    is_artifact,
    unpack_artifact,
    write_artifact,
)
from registry.paths import WorkspacePaths
from registry.records import Model
from scoring.bundle import open_bundle
from tests.engine import program
from tests.registry.store_check import blobs, contents
from tests.registry.stored_image import encoded

DIGITS = Model("digits", 3, "", "2026-11-26T12:00:00Z", "sha256:" + "1" * 64, 9, entry="d.onnx")
SMALL = FpgaContents(
    bitstream=b"\x00\x09\x0f\xf0" + b"\xff" * 32 + b"\xaa\x99\x55\x66" + bytes(200),
    hardware=b'<?xml version="1.0"?>\n<EDKSYSTEM><SYSTEMINFO DEVICE="7z020"/></EDKSYSTEM>\n',
    weights=bytes(range(256)),
    script=b"def init(): ...\ndef run(data): return data\n",
    manifest={"provenance": "simulation", "part": "xc7z020", "lanes": 8},
)
DIGEST = "sha256:e42158bc41a33638f6581f1e65d6c6b59b01cd74cd00b50d4165869e7b2fc43b"


@pytest.fixture
def store(workspace: Workspace) -> BlobStore:
    """The store of a new workspace."""
    return BlobStore(WorkspacePaths(workspace.root))


def _write(store: BlobStore, given: FpgaContents = SMALL) -> str:
    return write_artifact(store, "digits-fpga", 1, given, [DIGITS], lambda _: None).manifest


def _document(store: BlobStore, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(digest))
    return found


def test_an_artifact_has_its_files_its_types_and_its_origin(store: BlobStore) -> None:
    told: list[int] = []
    made = write_artifact(store, "digits-fpga", 1, SMALL, [DIGITS], told.append, revision="f" * 40)
    document = _document(store, made.manifest)
    assert is_artifact(document)
    assert document["config"]["mediaType"] == media_types.EMPTY
    assert store.read(document["config"]["digest"]) == b"{}"
    assert [(la["annotations"][TITLE], la["mediaType"]) for la in document["layers"]] == [
        (part.path, part.media_type) for part in PARTS
    ]
    assert (
        document["annotations"]
        | {
            PROVENANCE: "simulation",
            "dev.inferry.models": f"digits:3@{DIGITS.digest}",
            "org.opencontainers.image.revision": "f" * 40,
        }
        == document["annotations"]
    )
    named = {la["digest"]: la["size"] for la in [document["config"], *document["layers"]]}
    assert made.blobs == {**named, made.manifest: made.size_bytes}
    assert sum(told) == sum(la["size"] for la in document["layers"])
    assert made.descriptor == {
        "mediaType": media_types.MANIFEST,
        "artifactType": ARTIFACT,
        "digest": made.manifest,
        "size": len(store.read(made.manifest)),
    }


def test_equal_contents_have_equal_digests_everywhere(store: BlobStore, tmp_path: Path) -> None:
    paths = {}
    for what in ("bitstream", "hardware", "weights", "script"):
        paths[what] = tmp_path / what
        paths[what].write_bytes(getattr(SMALL, what))
        os.utime(paths[what], (1, 1))
    shuffled = dict(reversed(list(SMALL.manifest.items())))
    from_files = FpgaContents(**paths, manifest=shuffled)
    assert _write(store) == _write(store, from_files) == DIGEST


def test_it_unpacks_to_a_bundle(store: BlobStore, tmp_path: Path) -> None:
    folder = unpack_artifact(store, _write(store), tmp_path / "bundle")
    files = contents(folder)
    assert files.keys() == {part.path for part in PARTS}
    assert files["design.bit"] == SMALL.bitstream
    assert files["design.hwh"] == SMALL.hardware
    assert files["weights.bin"] == SMALL.weights
    assert files["code/score.py"] == SMALL.script
    assert json.loads(files["manifest.json"]) == SMALL.manifest
    bundle = open_bundle(folder)
    assert (bundle.file.engine, bundle.file.entry_script) == (ENGINE, "score.py")
    assert (bundle.model_dir, bundle.model_file) == (folder, None)
    with pytest.raises(TargetExistsError):
        unpack_artifact(store, _write(store), folder)


def test_it_unpacks_without_a_script(store: BlobStore, tmp_path: Path) -> None:
    folder = unpack_artifact(store, _write(store, replace(SMALL, script=None)), tmp_path / "b")
    assert not (folder / "code").exists()
    assert open_bundle(folder).file.entry_script is None


@pytest.mark.parametrize("said", [None, "", "Vivado", "unknown", 1, ["vivado"]])
def test_the_origin_of_a_bitstream_must_be_said(store: BlobStore, said: object) -> None:
    with pytest.raises(InvalidSourceError, match="one of vivado, openxc7, simulation"):
        _write(store, replace(SMALL, manifest={"provenance": said}))
    with pytest.raises(InvalidSourceError, match="provenance"):
        _write(store, replace(SMALL, manifest={}))


def _deep() -> object:
    found: object = 1
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"bitstream": b""}, "no bitstream"),
        ({"hardware": b""}, "no hardware"),
        ({"weights": b""}, "no weights"),
        ({"hardware": b"PK\x03\x04"}, "no XML"),
        ({"hardware": b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"}, "entities"),
        ({"hardware": "<!DOCTYPE x>".encode("utf-16")}, "no XML"),
        ({"hardware": "<!DOCTYPE x>".encode("utf-16-le")}, "entities"),
        ({"hardware": b" " * (HARDWARE.max_bytes + 1)}, "larger than 16 MiB"),
        ({"script": b"\xff\xfe"}, "no UTF-8"),
        ({"script": b"#" * (1024 * 1024 + 1)}, "larger than 1 MiB"),
        ({"manifest": {"provenance": "vivado", "clock": float("nan")}}, "JSON"),
        ({"manifest": {"provenance": "vivado", "clock": b"1"}}, "JSON"),
        ({"manifest": {"provenance": "vivado", "deep": _deep()}}, "JSON"),
        ({"manifest": {"provenance": "vivado", "x": "y" * MANIFEST.max_bytes}}, "larger than 1"),
        ({"weights": Path("/dev/zero")}, "no plain file"),
        ({"weights": Path("/tmp")}, "cannot read|no plain file"),
        ({"weights": Path("/nowhere/w\n.bin")}, "cannot read"),
        ({"weights": Path("nul\0")}, "cannot read"),
    ],
)
def test_contents_that_are_not_right_are_refused(
    store: BlobStore, workspace: Workspace, change: dict[str, Any], why: str
) -> None:
    before = blobs(workspace)
    with pytest.raises(InvalidSourceError, match=why):
        _write(store, replace(SMALL, **change))
    assert not list(store.paths.uploads.iterdir())
    assert blobs(workspace) - before <= store.published


def test_links_and_pipes_are_not_followed(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(InvalidSourceError, match=f"'{name}'"):
            _write(store, replace(SMALL, weights=tmp_path / name))


def test_an_image_needs_a_model(store: BlobStore) -> None:
    with pytest.raises(InvalidSourceError, match="needs a model"):
        write_artifact(store, "i", 1, SMALL, [], lambda _: None)


def test_cancel_passes(store: BlobStore) -> None:
    def cancel(_: int) -> None:
        raise CancelledError("cancelled on request")

    with pytest.raises(CancelledError):
        write_artifact(store, "i", 1, SMALL, [DIGITS], cancel)
    assert not list(store.paths.uploads.iterdir())


def _layer(document: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = [la for la in document["layers"] if la["annotations"][TITLE] == path]
    assert isinstance(found, dict)
    return found


def _titled(path: str, title: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        _layer(document, path)["annotations"][TITLE] = title

    return change


def _with(path: str, **fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: _layer(document, path).update(fields)


HOSTILE: list[Callable[[dict[str, Any]], object]] = [
    *(_titled("weights.bin", title) for title in (
        "../escaped", "/etc/cron.d/x", "design.bit", "code/../../x", "a\0b", "weights.bin/x", "",
    )),
    _with("weights.bin", mediaType="application/x-evil"),
    _with("weights.bin", mediaType=BITSTREAM.media_type),
    _with("weights.bin", size=WEIGHTS.max_bytes + 1),
    _with("weights.bin", size=-1),
    _with("weights.bin", size=0),
    _with("weights.bin", size="256"),
    _with("weights.bin", digest="sha256:../../../x"),
    _with("weights.bin", digest="sha512:" + "0" * 128),
    _with("weights.bin", annotations=None),
    lambda d: d["layers"].pop(1),
    lambda d: d["layers"].pop(4),  # the script, which bundle.json names
    lambda d: d["layers"].append(d["layers"][1]),
    lambda d: d["layers"].clear(),
    lambda d: d.update(layers=None),
    lambda d: d.update(artifactType=media_types.BUNDLE),
    lambda d: d.pop("artifactType"),
    lambda d: d["annotations"].update({PROVENANCE: "vivado"}),
    lambda d: d.pop("annotations"),
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE)
def test_a_hostile_manifest_unpacks_nothing(
    store: BlobStore, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    document = _document(store, _write(store))
    change(document)
    digest, _ = store.put([encoded(document)])
    with pytest.raises(ImageFailedError, match="no FPGA artifact"):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("bundle.json", {"engine": "os:system"}),
        ("bundle.json", {"entry_script": "../../etc/x.py"}),
        ("bundle.json", {"entry_script": None}),
        ("bundle.json", {"models": [{"name": "m", "version": 1, "path": "..", "entry": None,
                                     "digest": "x", "signature": None}]}),
        ("bundle.json", {"name": 5}),
        ("manifest.json", {"provenance": "vivado"}),
        ("manifest.json", {"provenance": ["simulation"]}),
        ("manifest.json", {"provenance": None}),
    ],
)  # fmt: skip
def test_hostile_documents_unpack_nothing(
    store: BlobStore, tmp_path: Path, path: str, data: dict[str, Any]
) -> None:
    document = _document(store, _write(store))
    layer = _layer(document, path)
    layer["digest"], layer["size"] = store.put(
        [encoded({**json.loads(store.read(layer["digest"])), **data})]
    )
    digest, _ = store.put([encoded(document)])
    with pytest.raises(ImageFailedError, match="no FPGA artifact"):
        unpack_artifact(store, digest, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"layers":[]}'])
def test_what_is_no_manifest_unpacks_nothing(store: BlobStore, tmp_path: Path, data: bytes) -> None:
    digest, _ = store.put([data])
    with pytest.raises(ImageFailedError, match="no FPGA artifact"):
        unpack_artifact(store, digest, tmp_path / "bundle")


@pytest.mark.parametrize("path", ["bundle.json", "weights.bin"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_size_that_lies_unpacks_nothing(
    store: BlobStore, tmp_path: Path, path: str, size: int
) -> None:
    document = _document(store, _write(store))
    _layer(document, path)["size"] = size
    digest, _ = store.put([encoded(document)])
    with pytest.raises(DamagedBlobError):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    assert not list(tmp_path.glob("new/*"))


def test_a_damaged_or_lost_blob_unpacks_nothing(store: BlobStore, tmp_path: Path) -> None:
    digest = _write(store)
    path = store.paths.blob(_layer(_document(store, digest), "design.bit")["digest"])
    path.chmod(0o644)
    path.write_bytes(b"x" * len(SMALL.bitstream if isinstance(SMALL.bitstream, bytes) else b""))
    with pytest.raises(DamagedBlobError):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    path.unlink()
    with pytest.raises(DamagedBlobError):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    assert not list((tmp_path / "new").iterdir())


def test_skopeo_copies_it_there_and_back_with_equal_digests(
    store: BlobStore, tmp_path: Path
) -> None:
    skopeo = program("skopeo")
    digest = _write(store)
    export_oci(store, digest, [], "digits-fpga:1", tmp_path / "out")
    for source, target in (("out", "there"), ("there", "back")):
        command = [skopeo, "copy", "--quiet", "--preserve-digests"]
        names = [f"oci:{tmp_path / folder}:digits-fpga:1" for folder in (source, target)]
        done = subprocess.run([*command, *names], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
    (found,) = json.loads((tmp_path / "back" / "index.json").read_text())["manifests"]
    assert found["digest"] == digest
    other = BlobStore(WorkspacePaths(Workspace.init(tmp_path / "other", base="none").root))
    for path in (tmp_path / "back" / "blobs" / "sha256").iterdir():
        other.put([path.read_bytes()])
    unpacked = unpack_artifact(other, digest, tmp_path / "bundle")
    assert contents(unpacked) == contents(unpack_artifact(store, digest, tmp_path / "bundle2"))


def test_it_is_no_tar_for_docker(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no container"):
        export_docker(store, _write(store), "digits-fpga:1", tmp_path / "out.tar")
