"""Images: what is packed, how it is stored, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry import Workspace
from registry.activities import Activity
from registry.errors import (
    CancelledError,
    DamagedBlobError,
    ImageFailedError,
    InUseError,
    InvalidNameError,
    InvalidSourceError,
    NotFoundError,
    TargetExistsError,
)
from registry.fpga_artifact import FpgaContents
from registry.source import NEVER_PACKED
from tests.registry import onnx_files
from tests.registry.fpga_folders import FILES, GOLDEN, fpga_folder
from tests.registry.store_check import (
    assert_clean,
    assert_no_leftovers,
    blob_folder,
    blob_path,
    contents,
    manifest,
    plain,
)
from tests.registry.test_models import DAMAGES, Damage

SCRIPT = "def init(): ...\ndef run(data): return data\n"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script in a folder of its own."""
    (tmp_path / "code").mkdir()
    file = tmp_path / "code/score.py"
    file.write_text(SCRIPT)
    return file


@pytest.fixture(autouse=True)
def models(workspace: Workspace, tmp_path: Path) -> None:
    """net:1 is ONNX, labels:1 is a text file."""
    workspace.models.register(onnx_files.adder(tmp_path / "in/net.onnx"), name="net")
    (tmp_path / "in/labels.txt").write_text("zero\none\n")
    workspace.models.register(tmp_path / "in/labels.txt", name="labels")


def _bundle(workspace: Workspace, reference: str, target: Path) -> dict[str, bytes]:
    return contents(workspace.images.unpack(reference, target))


def _layers(workspace: Workspace, digest: str | None) -> list[str]:
    assert digest is not None
    return [layer["digest"] for layer in manifest(workspace, digest)["layers"]]


def test_an_onnx_image_needs_no_script(workspace: Workspace, tmp_path: Path) -> None:
    image = workspace.images.create("i", models=["net"], max_batch=16, description="D")
    assert (image.reference, image.state, image.engine) == ("i:1", "succeeded", "onnx")
    assert (image.script, image.requirements, image.cause) == (None, None, None)
    assert (image.models, image.description) == (("net:1",), "D")
    files = _bundle(workspace, "i", tmp_path / "out")
    assert files["models/net/1/net.onnx"] == (tmp_path / "in/net.onnx").read_bytes()
    described = json.loads(files["bundle.json"])
    assert (described["engine"], described["entry_script"]) == ("onnx", None)
    assert (described["name"], described["version"], described["max_batch"]) == ("i", 1, 16)
    assert described["models"][0]["entry"] == "net.onnx"
    assert described["models"][0]["path"] == "models/net/1"
    assert workspace.images.get("i:1") == image


def test_an_image_has_script_source_models_and_requirements(
    workspace: Workspace, script: Path, tmp_path: Path
) -> None:
    (script.parent / "lib").mkdir()
    (script.parent / "lib/helper.py").write_text("x = 1\n")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("numpy>=2\n")
    image = workspace.images.create(
        "i",
        models=["net:1", "labels"],
        script=script,
        source=script.parent,
        requirements=requirements,
        tags={"stage": "test"},
    )
    assert (image.engine, image.script, image.requirements) == ("script", "score.py", "numpy>=2\n")
    assert set(image.models) == {"net:1", "labels:1"}
    files = _bundle(workspace, "i", tmp_path / "out")
    assert set(files) == {
        "bundle.json",
        "requirements.txt",
        "code/score.py",
        "code/lib/helper.py",
        "models/net/1/net.onnx",
        "models/labels/1/labels.txt",
    }
    assert files["requirements.txt"] == b"numpy>=2\n"
    assert json.loads(files["bundle.json"])["entry_script"] == "score.py"


def test_a_conda_file_is_kept_as_such(workspace: Workspace, script: Path, tmp_path: Path) -> None:
    conda = tmp_path / "env.yml"
    conda.write_text("dependencies: [pip]\n")
    workspace.images.create("i", models=["labels"], script=script, conda=conda)
    assert _bundle(workspace, "i", tmp_path / "out")["conda.yml"] == conda.read_bytes()


def test_a_script_keeps_its_place_in_the_source(
    workspace: Workspace, script: Path, tmp_path: Path
) -> None:
    inside = script.parent / "deep/score.py"
    inside.parent.mkdir()
    script.rename(inside)
    image = workspace.images.create("i", models=["labels"], script=inside, source=script.parent)
    assert image.script == "deep/score.py"
    assert "code/deep/score.py" in _bundle(workspace, "i", tmp_path / "out")


def test_a_script_from_elsewhere_comes_on_top(
    workspace: Workspace, script: Path, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/helper.py").write_text("x = 1\n")
    workspace.images.create("i", models=["labels"], script=script, source=tmp_path / "lib")
    files = _bundle(workspace, "i", tmp_path / "out")
    assert {"code/score.py", "code/helper.py"} <= set(files)
    (tmp_path / "lib/score.py").write_text("other = 1\n")
    with pytest.raises(InvalidSourceError, match=r"another 'score\.py'"):
        workspace.images.create("i", models=["labels"], script=script, source=tmp_path / "lib")


def test_executables_stay_executable(workspace: Workspace, script: Path, tmp_path: Path) -> None:
    (script.parent / "tool").write_bytes(b"#!/bin/sh\n")
    (script.parent / "tool").chmod(0o755)
    workspace.images.create("i", models=["labels"], script=script, source=script.parent)
    out = workspace.images.unpack("i", tmp_path / "out")
    assert (out / "code/tool").stat().st_mode & 0o777 == 0o755
    assert (out / "code/score.py").stat().st_mode & 0o777 == 0o644


def test_equal_inputs_give_equal_digests_anywhere(tmp_path: Path) -> None:
    digests = []
    for number, place in enumerate(("here", "far/away")):
        root = tmp_path / place
        (root / "code/lib").mkdir(parents=True)
        names = ["b.py", "a.py", "lib/c.py"]
        for name in names if number else reversed(names):
            (root / "code" / name).write_text(f"# {name}\n")
            os.utime(root / "code" / name, (number * 1000, number * 1000))
        (root / "code/score.py").write_text(SCRIPT)
        workspace = Workspace.init(
            root / "ws",
            base="none",
            clock=lambda n=number: f"203{n}-01-01T00:00:00Z",  # type: ignore[misc]
        )
        workspace.models.register(onnx_files.adder(root / "net.onnx"), name="net")
        image = workspace.images.create(
            "i", models=["net"], script=root / "code/score.py", source=root / "code"
        )
        digests.append((image.digest, _layers(workspace, image.digest)))
    assert digests[0] == digests[1]


def test_layers_say_nothing_of_the_machine(workspace: Workspace, script: Path) -> None:
    image = workspace.images.create("i", models=["net"], script=script)
    for digest in _layers(workspace, image.digest):
        with tarfile.open(blob_path(workspace, digest)) as archive:
            members = archive.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
        assert all(m.isreg() or m.isdir() for m in members)
        files = [m.name for m in members if m.isreg()]
        assert files == sorted(files)
        assert all(name.startswith("opt/inferry/bundle/") for name in files)


def test_images_share_the_layer_of_their_model(workspace: Workspace, script: Path) -> None:
    first = workspace.images.create("a", models=["net"], script=script)
    second = workspace.images.create("b", models=["net", "labels"], script=script)
    script.write_text(SCRIPT + "# changed\n")
    third = workspace.images.create("a", models=["net"], script=script)
    layers = [_layers(workspace, image.digest) for image in (first, second, third)]
    assert layers[0][1] == layers[1][1] == layers[2][1]
    assert layers[0][0] != layers[2][0]


def test_the_store_is_a_valid_oci_layout(workspace: Workspace, script: Path) -> None:
    workspace.images.create("a", models=["net"])
    workspace.images.create("a", models=["net", "labels"], script=script)
    workspace.images.create("b", models=["labels"], script=script)
    store = workspace.root / "store"
    assert json.loads((store / "oci-layout").read_text())["imageLayoutVersion"] == "1.0.0"
    index = json.loads((store / "index.json").read_text())
    assert index["schemaVersion"] == 2
    names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]]
    assert names == ["a:1", "a:2", "b:1"]

    def read(descriptor: dict[str, Any]) -> bytes:
        data = blob_path(workspace, descriptor["digest"]).read_bytes()
        assert len(data) == descriptor["size"]
        return data

    for entry in index["manifests"]:
        document = json.loads(read(entry))
        assert entry["mediaType"] == document["mediaType"]
        config = json.loads(read(document["config"]))
        tars = [plain(read(layer)) for layer in document["layers"]]
        diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
        assert config["rootfs"] == {"type": "layers", "diff_ids": diff_ids}
        kinds = [layer["mediaType"].rpartition(".")[2] for layer in document["layers"]]
        assert kinds == ["tar+gzip"] + ["tar"] * (len(kinds) - 1)  # code, then models
        for tar in tars:
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                assert archive.getnames()
    assert_clean(workspace)


def test_a_deleted_image_leaves_the_index_and_purge_frees_it(
    workspace: Workspace, script: Path
) -> None:
    kept = set(blob_folder(workspace).iterdir())
    workspace.images.create("a", models=["net"], script=script)
    workspace.images.delete("a")
    assert json.loads((workspace.root / "store/index.json").read_text())["manifests"] == []
    workspace.purge()
    assert set(blob_folder(workspace).iterdir()) == kept
    image = workspace.images.create("a", models=["net"], script=script)
    assert image.version == 2
    assert_clean(workspace)


def test_a_model_in_use_cannot_be_deleted(workspace: Workspace, script: Path) -> None:
    for name in ("b", "a", "a"):
        workspace.images.create(name, models=["net:1", "labels"], script=script)
    with pytest.raises(InUseError, match=r"a:1.*a:2.*b:1") as caught:
        workspace.models.delete("net:1")
    assert caught.value.users == ("a:1", "a:2", "b:1")
    for reference in ("a:1", "b:1"):
        workspace.images.delete(reference)
    with pytest.raises(InUseError) as caught:
        workspace.models.delete("net")
    assert caught.value.users == ("a:2",)
    workspace.images.delete("a:2")
    assert workspace.models.delete("net").reference == "net:1"


def test_the_log_says_what_was_made(workspace: Workspace, tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text("from elsewhere import init\ndef run(data): return data\n")
    image = workspace.images.create("i", models=["net", "labels"], script=script)
    assert "models: net:1, labels:1" in image.log
    assert "late.py does not define init() itself" in image.log
    assert "run()" not in image.log
    assert str(image.digest) in image.log
    assert all(layer in image.log for layer in _layers(workspace, image.digest))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_fails_the_image_and_the_record_says_why(
    workspace: Workspace, script: Path, tmp_path: Path, damage: Damage
) -> None:
    digest = workspace.models.get("labels").files[0].digest
    damage(blob_path(workspace, digest))
    with pytest.raises(DamagedBlobError):
        workspace.images.create("i", models=["labels"], script=script, tags={"t": "v"})
    image = workspace.images.get("i")
    assert (image.state, image.digest, image.tags) == ("failed", None, {"t": "v"})
    assert digest in str(image.cause)
    assert "failed:" in image.log
    with pytest.raises(ImageFailedError, match=r"damaged|missing"):
        workspace.images.unpack("i", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert_no_leftovers(workspace)
    workspace.models.register(tmp_path / "in/labels.txt", name="labels")
    assert workspace.images.create("i", models=["labels:1"], script=script).version == 2
    workspace.images.delete("i:1")
    workspace.purge()
    assert_clean(workspace)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", [0, 1, "manifest"])
def test_a_damaged_image_is_never_unpacked(
    workspace: Workspace, script: Path, tmp_path: Path, damage: Damage, which: int | str
) -> None:
    image = workspace.images.create("i", models=["net"], script=script)
    layers = _layers(workspace, image.digest)
    damaged = str(image.digest) if isinstance(which, str) else layers[which]
    damage(blob_path(workspace, damaged))
    with pytest.raises(DamagedBlobError) as caught:
        workspace.images.unpack("i", tmp_path / "out")
    assert caught.value.digest == damaged
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".inferry-*"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_making_an_image_again_mends_its_layers(
    workspace: Workspace, script: Path, tmp_path: Path, damage: Damage
) -> None:
    image = workspace.images.create("i", models=["net"], script=script)
    damage(blob_path(workspace, _layers(workspace, image.digest)[1]))
    workspace.images.create("other", models=["net"], script=script)
    assert _bundle(workspace, "i:1", tmp_path / "out")["code/score.py"] == SCRIPT.encode()
    assert_clean(workspace)


def test_an_unpacked_image_needs_a_new_folder(
    workspace: Workspace, script: Path, tmp_path: Path
) -> None:
    workspace.images.create("i", models=["net"], script=script)
    (tmp_path / "out").mkdir()
    workspace.images.unpack("i", tmp_path / "out")
    with pytest.raises(TargetExistsError):
        workspace.images.unpack("i", tmp_path / "out")
    with pytest.raises(TargetExistsError):
        workspace.images.unpack("i", script)
    assert script.read_text() == SCRIPT


def test_secrets_and_caches_are_in_no_blob(workspace: Workspace, script: Path) -> None:
    canary = b"CANARY-7f3a91"
    planted = [*NEVER_PACKED, "server.key", "server.pem", "old.pyc"]
    for folder in (script.parent, script.parent / "deep"):
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(planted):
            if number % 2:
                (folder / name).mkdir()
                (folder / name / "inner").write_bytes(canary)
            else:
                (folder / name).write_bytes(canary)
    (script.parent / "deep/kept.py").write_text("kept = True\n")
    image = workspace.images.create("i", models=["net"], script=script, source=script.parent)
    blobs = [plain(path.read_bytes()) for path in blob_folder(workspace).iterdir()]
    assert not any(canary in data for data in blobs)
    assert any(b"kept = True" in data for data in blobs)
    assert image.state == "succeeded"


@pytest.mark.parametrize(
    "name", [".env", ".git", ".venv", "__pycache__", ".ssh", ".aws", ".inferry"]
)
def test_what_is_never_packed_includes(name: str) -> None:
    assert name in NEVER_PACKED


def _syntax_error(folder: Path) -> Path:
    (folder / "score.py").write_text("def init(:\n")
    return folder / "score.py"


def _not_python(folder: Path) -> Path:
    (folder / "score.txt").write_text(SCRIPT)
    return folder / "score.txt"


def _a_folder(folder: Path) -> Path:
    (folder / "made.py").mkdir()
    return folder / "made.py"


def _with_nul(folder: Path) -> Path:
    (folder / "score.py").write_bytes(b"x = 1\0")
    return folder / "score.py"


def _not_utf8(folder: Path) -> Path:
    (folder / "score.py").write_bytes(b"x = '\xff'\n")
    return folder / "score.py"


def _link(folder: Path) -> Path:
    (folder / "link.py").symlink_to(folder / "score.py")
    return folder / "link.py"


def _deep(folder: Path) -> Path:
    (folder / "score.py").write_text("x = " + "(" * 50_000 + ")" * 50_000)
    return folder / "score.py"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (_syntax_error, "line 1"),
        (_not_python, "is no .py file"),
        (_a_folder, "is a folder"),
        (lambda folder: folder / "absent.py", "there is no file"),
        (_with_nul, "not valid Python"),
        (_not_utf8, "not valid Python"),
        (_link, "symbolic link"),
        (_deep, "not valid Python"),
    ],
)
def test_a_bad_script_is_refused_before_anything_is_recorded(
    workspace: Workspace, script: Path, make: Callable[[Path], Path], complaint: str
) -> None:
    bad = make(script.parent)
    with pytest.raises(InvalidSourceError, match=complaint) as caught:
        workspace.images.create("i", models=["net"], script=bad)
    assert "\n" not in str(caught.value)
    assert workspace.images.list() == []
    assert workspace.images.create("i", models=["net"]).version == 1


@pytest.mark.parametrize("name", ["scoring.py", "scoring/__init__.py"])
def test_a_source_that_hides_the_server_is_refused(
    workspace: Workspace, script: Path, name: str
) -> None:
    (script.parent / name).parent.mkdir(exist_ok=True)
    (script.parent / name).write_text("")
    with pytest.raises(InvalidSourceError, match="'scoring'"):
        workspace.images.create("i", models=["net"], script=script, source=script.parent)


def test_a_script_that_hides_the_server_is_refused(workspace: Workspace, script: Path) -> None:
    hiding = script.rename(script.parent / "scoring.py")
    with pytest.raises(InvalidSourceError, match="'scoring'"):
        workspace.images.create("i", models=["net"], script=hiding)


def test_inputs_that_do_not_fit_are_refused(
    workspace: Workspace, script: Path, tmp_path: Path
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\0")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"models": []}, "needs a model"),
        ({"models": ["labels"]}, "--script"),
        ({"models": ["net", "labels"]}, "--script"),
        ({"models": ["net"], "source": script.parent}, "needs a script"),
        ({"models": ["net"], "max_batch": 0}, "at least 1"),
        ({"models": ["net"], "requirements": script, "conda": script}, "not both"),
        ({"models": ["net"], "script": script, "requirements": binary}, "UTF-8"),
        ({"models": ["net"], "script": script, "requirements": tmp_path}, "folder"),
        ({"models": ["net"], "script": script, "requirements": tmp_path / "no"}, "no file"),
        ({"models": ["net"], "script": script, "source": script}, "no folder"),
        ({"models": ["net"], "script": script, "source": tmp_path / "no"}, "no folder"),
    ]
    for arguments, complaint in refused:
        with pytest.raises(InvalidSourceError, match=complaint):
            workspace.images.create("i", **arguments)
    with pytest.raises(NotFoundError, match="no model absent"):
        workspace.images.create("i", models=["absent"])
    with pytest.raises(InvalidNameError):
        workspace.images.create("../i", models=["net"])
    assert workspace.images.list() == []


def test_images_are_listed_tagged_and_deleted(workspace: Workspace, script: Path) -> None:
    for name, tags in [("a", {"stage": "x"}), ("a", {"stage": "y", "gpu": ""}), ("b", {})]:
        workspace.images.create(name, models=["net"], tags=tags)

    def found(name: str | None = None, *tags: str, latest: bool = False) -> list[str]:
        return [i.reference for i in workspace.images.list(name=name, tags=tags, latest=latest)]

    assert found() == ["a:1", "a:2", "b:1"]
    assert found("a", latest=True) == ["a:2"]
    assert found(None, "stage") == ["a:1", "a:2"]
    assert found(None, "stage=x") == ["a:1"]
    assert workspace.images.tag("a:1", set={"new": "1"}, remove=["stage"]).tags == {"new": "1"}
    assert found(None, "stage") == ["a:2"]
    assert workspace.images.get("a:latest").version == 2
    with pytest.raises(NotFoundError, match="2 versions"):
        workspace.images.delete("a")
    for reference in ("a:1", "a", "b"):
        workspace.images.delete(reference)
    assert found() == []
    for act in (workspace.images.get, workspace.images.delete, workspace.images.tag):
        with pytest.raises(NotFoundError):
            act("a")


def test_a_model_given_twice_is_packed_once(workspace: Workspace, script: Path) -> None:
    image = workspace.images.create("i", models=["net", "net:1", "net:latest"], script=script)
    assert image.models == ("net:1",)
    assert len(_layers(workspace, image.digest)) == 2


def test_a_model_that_is_deleted_meanwhile_fails_the_image(
    workspace: Workspace, script: Path
) -> None:
    def delete(activity: Activity) -> None:
        if workspace.models.list(name="labels"):
            workspace.models.delete("labels")

    with pytest.raises(NotFoundError, match="deleted while its image was made"):
        workspace.images.create("i", models=["labels"], script=script, on_change=delete)
    image = workspace.images.get("i")
    assert (image.state, image.digest, image.size_bytes) == ("failed", None, 0)
    assert image.cause == "a model was deleted while its image was made"
    workspace.purge()
    assert_clean(workspace)


def test_an_fpga_image_is_recorded_signed_unpacked_and_freed_like_any_other(
    workspace: Workspace, tmp_path: Path
) -> None:
    seen: list[dict[str, bytes]] = []
    folders: list[Path] = []
    changes: list[Activity] = []

    def make(model: Path, say: Callable[[str], None]) -> FpgaContents:
        seen.append(contents(model))
        folders.append(model)
        say("3 layers")
        return FpgaContents(fpga_folder(tmp_path / "made"), GOLDEN)

    made = workspace.images.create_fpga(
        "f",
        models=["net"],
        make=make,
        tags={"a": "b"},
        description="D",
        on_change=changes.append,
    )
    phases = [each.phase for each in changes]
    [total] = {each.total for each in changes if each.phase == "Packing"}
    assert sum(map(len, FILES.values())) + len(GOLDEN) < total
    assert max(each.done for each in changes) <= total
    assert made.size_bytes > total
    assert (made.state, made.details.kind, made.engine, made.models, made.description) == (
        "succeeded",
        "fpga",
        "fpga.engine:FpgaEngine",
        ("net:1",),
        "D",
    )
    assert seen == [{"net.onnx": (tmp_path / "in/net.onnx").read_bytes()}]
    assert not folders[0].exists()
    assert list(dict.fromkeys(phases)) == ["Compiling", "Packing", "Signing"]
    assert "3 layers" in made.log.splitlines()
    assert "bitstream: simulation, for xc7z020clg400-1 (pynq-z1, pynq-z2)" in made.log
    assert workspace.images.get("f") == made
    assert workspace.images.verify("f").statement.kind == "fpga"
    out = contents(workspace.images.unpack("f", tmp_path / "out"))
    assert {f"fpga/{name}": data for name, data in FILES.items()}.items() <= out.items()
    assert out["golden.json"] == GOLDEN
    (model,) = json.loads(out["bundle.json"])["models"]
    assert (model["path"], model["entry"], model["digest"]) == (
        "fpga",
        "program.json",
        workspace.models.get("net").digest,
    )
    assert [each["name"] for each in model["signature"]["inputs"]]
    with pytest.raises(InUseError):
        workspace.models.delete("net")
    assert_clean(workspace)
    workspace.images.delete("f")
    workspace.purge()
    assert_clean(workspace)


def test_a_compiler_that_fails_leaves_a_record_with_its_log(
    workspace: Workspace, tmp_path: Path
) -> None:
    folders: list[Path] = []

    def fail(error: Exception) -> Callable[[Path, Callable[[str], None]], FpgaContents]:
        def make(model: Path, say: Callable[[str], None]) -> FpgaContents:
            folders.append(model)
            say("importing the graph")
            raise error

        return make

    for number, (error, cause) in enumerate(
        [
            (ImageFailedError("Gelu is not supported"), "Gelu is not supported"),
            (RuntimeError("what?"), "stopped: RuntimeError('what?')"),
        ],
        1,
    ):
        with pytest.raises(type(error)):
            workspace.images.create_fpga("f", models=["net"], make=fail(error))
        image = workspace.images.get(f"f:{number}")
        assert (image.state, image.cause, image.details.kind) == ("failed", cause, "fpga")
        assert image.log.splitlines()[-2:] == ["importing the graph", f"failed: {cause}"]
        assert (image.digest, image.size_bytes) == (None, 0)
    assert not any(folder.exists() for folder in folders)
    assert_clean(workspace)


def test_what_a_compiler_gives_is_checked(workspace: Workspace, tmp_path: Path) -> None:
    made = fpga_folder(tmp_path / "made", design_bit=b"another")
    with pytest.raises(InvalidSourceError, match=r"its design\.bit is another"):
        workspace.images.create_fpga("f", models=["net"], make=lambda *_: FpgaContents(made))
    assert workspace.images.get("f").state == "failed"
    assert_clean(workspace)


def test_an_fpga_image_is_cancelled_between_two_lines(workspace: Workspace) -> None:
    def make(model: Path, say: Callable[[str], None]) -> FpgaContents:
        (running,) = workspace.activities.list(running_only=True)
        workspace.activities.cancel(running.id)
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline:
            say("still here")
        raise AssertionError("it was not cancelled")

    with pytest.raises(CancelledError):
        workspace.images.create_fpga("f", models=["net"], make=make)
    assert_clean(workspace)


def test_an_fpga_image_has_one_model(workspace: Workspace) -> None:
    def make(*_: object) -> FpgaContents:
        raise AssertionError("nothing is compiled")

    for models in ([], ["net", "labels"]):
        with pytest.raises(InvalidSourceError, match="exactly one model"):
            workspace.images.create_fpga("f", models=models, make=make)
    with pytest.raises(NotFoundError):
        workspace.images.create_fpga("f", models=["nothing"], make=make)
    assert workspace.images.list() == []
