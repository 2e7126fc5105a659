"""FPGA images as OCI artifacts: the same every time, and nothing hostile gets in or out."""

from __future__ import annotations

import json
import os
import subprocess
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
    InvalidSourceError,
    RegistryError,
    TargetExistsError,
)
from registry.export import export_docker, export_oci
from registry.fpga_artifact import (
    ARTIFACT,
    BITSTREAM,
    BOARDS,
    ENGINE,
    LOAD,
    MIB,
    PART,
    PARTS,
    PROVENANCE,
    TITLE,
    FpgaContents,
    unpack_artifact,
    write_artifact,
)
from registry.paths import WorkspacePaths
from scoring.bundle import open_bundle
from tests.engine import program as tool
from tests.registry.fpga_folders import BITSTREAM as BITS
from tests.registry.fpga_folders import DIGITS, FILES, GOLDEN, fpga_folder, program
from tests.registry.store_check import blobs, contents
from tests.registry.stored_image import encoded

DIGEST = "sha256:fd9e49a32589cd9794c9004bcb3cbb1733c9653a483d8f18d8924d0af5e86a9a"


@pytest.fixture
def store(workspace: Workspace) -> BlobStore:
    """The store of a new workspace."""
    return BlobStore(WorkspacePaths(workspace.root))


@pytest.fixture
def small(tmp_path: Path) -> FpgaContents:
    """With all files that can be there."""
    return FpgaContents(fpga_folder(tmp_path / "fpga"), GOLDEN)


def _write(store: BlobStore, given: FpgaContents) -> str:
    return write_artifact(store, "digits-fpga", 1, given, [DIGITS], lambda _: None).manifest


def _document(store: BlobStore, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(digest))
    return found


def test_an_artifact_has_its_files_its_types_and_its_origin(
    store: BlobStore, small: FpgaContents
) -> None:
    told: list[int] = []
    made = write_artifact(store, "digits-fpga", 1, small, [DIGITS], told.append, revision="f" * 40)
    document = _document(store, made.manifest)
    assert document["artifactType"] == ARTIFACT
    assert document["config"]["mediaType"] == media_types.EMPTY
    assert store.read(document["config"]["digest"]) == b"{}"
    assert [(la["annotations"][TITLE], la["mediaType"]) for la in document["layers"]] == [
        (part.path, part.media_type) for part in PARTS
    ]
    assert (
        document["annotations"]
        | {
            PROVENANCE: "simulation",
            PART: "xc7z020clg400-1",
            BOARDS: "pynq-z1,pynq-z2",
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


def test_equal_contents_have_equal_digests_everywhere(
    store: BlobStore, small: FpgaContents, tmp_path: Path
) -> None:
    other = fpga_folder(tmp_path / "elsewhere" / "compiled")
    (other / "left.tmp").write_bytes(b"not taken")
    for path in other.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    (tmp_path / "golden.json").write_bytes(GOLDEN)
    again = FpgaContents(other, tmp_path / "golden.json")
    assert _write(store, small) == _write(store, again) == DIGEST


def test_it_unpacks_to_a_bundle(store: BlobStore, small: FpgaContents, tmp_path: Path) -> None:
    folder = unpack_artifact(store, _write(store, small), tmp_path / "bundle")
    files = contents(folder)
    assert files.keys() == {part.path for part in PARTS}
    assert {f"fpga/{name}": data for name, data in FILES.items()}.items() <= files.items()
    assert files["golden.json"] == GOLDEN
    bundle = open_bundle(folder)
    assert (bundle.file.engine, bundle.file.entry_script) == (ENGINE, None)
    assert bundle.model_dir == folder / "fpga"
    assert bundle.model_file == folder / "fpga" / "program.json"
    (model,) = json.loads(files["bundle.json"])["models"]
    assert (model["name"], model["version"], model["digest"]) == ("digits", 3, DIGITS.digest)
    with pytest.raises(TargetExistsError):
        unpack_artifact(store, _write(store, small), folder)


@pytest.mark.parametrize("stream", [None, b""])
def test_what_need_not_be_there_is_left_out(
    store: BlobStore, tmp_path: Path, stream: bytes | None
) -> None:
    compiled = fpga_folder(tmp_path / "c", stream_bin=stream, report_json=None)
    if stream is None:
        (compiled / "stream.bin").unlink(missing_ok=True)
    folder = unpack_artifact(store, _write(store, FpgaContents(compiled)), tmp_path / "b")
    assert contents(folder).keys() == {part.path for part in PARTS if part.is_required}


@pytest.mark.parametrize("said", ["", "none", "Vivado", "unknown", "simulation\n"])
def test_the_origin_of_a_bitstream_must_be_said(
    store: BlobStore, tmp_path: Path, said: str
) -> None:
    compiled = fpga_folder(tmp_path / "c", program_json=program(provenance=said))
    with pytest.raises(InvalidSourceError, match="one of vivado, openxc7, simulation"):
        _write(store, FpgaContents(compiled))


BIG = b" " * (16 * MIB + 1)
ENTITIES = "<!DOCTYPE x>"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"design_bit": b""}, "no bitstream"),
        ({"design_hwh": b""}, "no hardware"),
        ({"load_bin": b""}, "no load packet"),
        ({"program_json": b""}, "no program"),
        ({"design_bit": None}, "cannot read the bitstream 'design.bit': No such file"),
        ({"load_bin": None}, "'load.bin': No such file"),
        ({"program_json": None}, "'program.json': No such file"),
        ({"design_hwh": b"PK\x03\x04"}, "no XML"),
        ({"design_hwh": b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"}, "entities"),
        ({"design_hwh": ENTITIES.encode("utf-16")}, "no XML"),
        ({"design_hwh": ENTITIES.encode("utf-16-le")}, "entities"),
        ({"design_hwh": BIG}, "larger than 16 MiB"),
        ({"report_json": BIG}, "larger than 16 MiB"),
        ({"program_json": BIG}, "larger than 16 MiB"),
        ({"design_bit": b"another"}, "another than program.json names"),
        ({"program_json": b"{"}, "cannot be read"),
        ({"program_json": b"[]"}, "cannot be read"),
        ({"program_json": b"\xff\xfe"}, "cannot be read"),
        ({"program_json": b'{"bitstream":' + b"[" * 200_000}, "cannot be read"),
        ({"program_json": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"}, "cannot be read"),
        ({"program_json": b'{"bitstream": null}'}, "cannot be read"),
        ({"program_json": b"{}"}, "cannot be read"),
        ({"program_json": program(provenance=None)}, "cannot be read"),
        ({"program_json": program(provenance=["vivado"])}, "cannot be read"),
        ({"program_json": program(boards="pynq-z2")}, "cannot be read"),
        ({"program_json": program(boards=["pynq-z2,evil"])}, "part or boards that cannot be"),
        ({"program_json": program(boards=["pynq-z2\n"])}, "part or boards that cannot be"),
        ({"program_json": program(boards=["b"] * 1000)}, "part or boards that cannot be"),
        ({"program_json": program(part="")}, "part or boards that cannot be"),
        ({"program_json": program(part="x" * 65)}, "part or boards that cannot be"),
        ({"program_json": program(sha256="")}, "another than program.json names"),
        ({"program_json": program(sha256="../../x")}, "another than program.json names"),
    ],
)
def test_contents_that_are_not_right_are_refused(
    store: BlobStore,
    workspace: Workspace,
    tmp_path: Path,
    change: dict[str, bytes | None],
    why: str,
) -> None:
    compiled = fpga_folder(tmp_path / "c", **change)
    before = blobs(workspace)
    with pytest.raises(InvalidSourceError, match=why) as caught:
        _write(store, FpgaContents(compiled))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not list(store.paths.uploads.iterdir())
    assert blobs(workspace) - before <= store.published


@pytest.mark.parametrize("golden", [b"", b"[]", b'{"v": 2}', b'{"v": 1, "cases": []}', BIG])
def test_golden_inputs_that_are_none_are_refused(
    store: BlobStore, small: FpgaContents, golden: bytes
) -> None:
    with pytest.raises(InvalidSourceError, match="golden"):
        _write(store, FpgaContents(small.folder, golden))


@pytest.mark.parametrize("name", ["load.bin", "stream.bin", "report.json", "design.hwh"])
def test_links_pipes_and_devices_are_not_followed(
    store: BlobStore, small: FpgaContents, tmp_path: Path, name: str
) -> None:
    path = small.folder / name
    (tmp_path / "secret").write_text("key")
    makers: list[Callable[[], object]] = [
        lambda: path.symlink_to(tmp_path / "secret"),
        lambda: path.symlink_to(tmp_path / "nowhere"),
        lambda: path.symlink_to("/dev/zero"),
        lambda: os.mkfifo(path),
    ]
    for make in makers:
        path.unlink()
        make()
        with pytest.raises(InvalidSourceError, match=f"'{name}'"):
            _write(store, small)


def test_a_folder_that_is_none_is_refused(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "nowhere", tmp_path / "file", Path("nul\0")):
        with pytest.raises(InvalidSourceError, match="cannot read"):
            _write(store, FpgaContents(folder))


def test_an_image_has_one_model(store: BlobStore, small: FpgaContents) -> None:
    for models in ([], [DIGITS, DIGITS]):
        with pytest.raises(InvalidSourceError, match="exactly one model"):
            write_artifact(store, "i", 1, small, models, lambda _: None)


def test_cancel_passes(store: BlobStore, small: FpgaContents) -> None:
    def cancel(_: int) -> None:
        raise CancelledError("cancelled on request")

    with pytest.raises(CancelledError):
        write_artifact(store, "i", 1, small, [DIGITS], cancel)
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
    *(_titled("fpga/load.bin", title) for title in (
        "../escaped", "/etc/cron.d/x", "fpga/design.bit", "fpga/../../x", "a\0b", "fpga/load.bin/x",
        "",
    )),
    _with("fpga/load.bin", mediaType="application/x-evil"),
    _with("fpga/load.bin", mediaType=BITSTREAM.media_type),
    _with("fpga/load.bin", size=LOAD.max_bytes + 1),
    _with("fpga/load.bin", size=-1),
    _with("fpga/load.bin", size=0),
    _with("fpga/load.bin", size="256"),
    _with("fpga/load.bin", digest="sha256:../../../x"),
    _with("fpga/load.bin", digest="sha512:" + "0" * 128),
    _with("fpga/load.bin", annotations=None),
    lambda d: d["layers"].pop(1),
    lambda d: d["layers"].pop(4),
    lambda d: d["layers"].append(d["layers"][1]),
    lambda d: d["layers"].clear(),
    lambda d: d.update(layers=None),
    lambda d: d.update(artifactType=media_types.BUNDLE),
    lambda d: d.pop("artifactType"),
    lambda d: d["annotations"].update({PROVENANCE: "vivado"}),
    lambda d: d["annotations"].update({PART: "xc7z010clg400-1"}),
    lambda d: d["annotations"].update({BOARDS: "pynq-z2"}),
    lambda d: d["annotations"].pop(PROVENANCE),
    lambda d: d["annotations"].pop(BOARDS),
    lambda d: d.pop("annotations"),
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE)
def test_a_hostile_manifest_unpacks_nothing(
    store: BlobStore,
    small: FpgaContents,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
) -> None:
    document = _document(store, _write(store, small))
    change(document)
    digest, _ = store.put([encoded(document)])
    with pytest.raises(ImageFailedError, match="no FPGA artifact"):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    assert not (tmp_path / "new").exists()


def _model(path: str, entry: str | None) -> dict[str, object]:
    return {"name": "m", "version": 1, "path": path, "entry": entry, "digest": "x",
            "signature": None}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("bundle.json", {"engine": "os:system"}),
        ("bundle.json", {"entry_script": "../../etc/x.py"}),
        ("bundle.json", {"models": [_model("..", "program.json")]}),
        ("bundle.json", {"models": [_model("fpga", "../../x")]}),
        ("bundle.json", {"models": [_model("fpga", None)]}),
        ("bundle.json", {"models": [_model("fpga", "program.json")] * 2}),
        ("bundle.json", {"models": []}),
        ("bundle.json", {"name": 5}),
        ("fpga/program.json", {"bitstream": {**BITS, "provenance": "vivado"}}),
        ("fpga/program.json", {"bitstream": {**BITS, "provenance": ["simulation"]}}),
        ("fpga/program.json", {"bitstream": {**BITS, "provenance": "none"}}),
        ("fpga/program.json", {"bitstream": {**BITS, "part": "xc7z010clg400-1"}}),
        ("fpga/program.json", {"bitstream": {**BITS, "boards": ["pynq-z2"]}}),
        ("fpga/program.json", {"bitstream": {**BITS, "sha256": "0" * 64}}),
        ("fpga/program.json", {"bitstream": None}),
    ],
)  # fmt: skip
def test_hostile_documents_unpack_nothing(
    store: BlobStore, small: FpgaContents, tmp_path: Path, path: str, data: dict[str, Any]
) -> None:
    document = _document(store, _write(store, small))
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


@pytest.mark.parametrize("path", ["bundle.json", "fpga/load.bin"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_size_that_lies_unpacks_nothing(
    store: BlobStore, small: FpgaContents, tmp_path: Path, path: str, size: int
) -> None:
    document = _document(store, _write(store, small))
    _layer(document, path)["size"] = size
    digest, _ = store.put([encoded(document)])
    with pytest.raises(DamagedBlobError):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    assert not list(tmp_path.glob("new/*"))


def test_a_damaged_or_lost_blob_unpacks_nothing(
    store: BlobStore, small: FpgaContents, tmp_path: Path
) -> None:
    digest = _write(store, small)
    path = store.paths.blob(_layer(_document(store, digest), "fpga/design.bit")["digest"])
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DamagedBlobError):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    path.unlink()
    with pytest.raises(DamagedBlobError):
        unpack_artifact(store, digest, tmp_path / "new" / "bundle")
    assert not list((tmp_path / "new").iterdir())


def test_skopeo_copies_it_there_and_back_with_equal_digests(
    store: BlobStore, small: FpgaContents, tmp_path: Path
) -> None:
    skopeo = tool("skopeo")
    digest = _write(store, small)
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


def test_it_is_no_tar_for_docker(store: BlobStore, small: FpgaContents, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no container"):
        export_docker(store, _write(store, small), "digits-fpga:1", tmp_path / "out.tar")
