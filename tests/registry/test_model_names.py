"""Names of models, and versions from files that the store has already."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import (
    DamagedBlobError,
    InUseError,
    InvalidNameError,
    InvalidSourceError,
    NameTakenError,
    NotFoundError,
)
from registry.model_origins import Origin
from registry.records import StoredFile
from tests.registry.store_check import assert_clean


def _run_with_files(workspace: Workspace) -> tuple[str, list[StoredFile]]:
    run = workspace.tracking.runs.create("e").id
    made = [
        workspace.tracking.files.put(run, path, [data])
        for path, data in (("model/w.bin", b"weights"), ("model/b.txt", b"words"))
    ]
    return run, [
        StoredFile(file.path.removeprefix("model/"), file.size_bytes, file.digest) for file in made
    ]


def test_a_name_is_there_before_and_after_its_versions(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.model_names.create("net", description="a net", tags={"a": "b"})
    with pytest.raises(NameTakenError):
        workspace.model_names.create("net")
    (tmp_path / "w.bin").write_bytes(b"1")
    assert workspace.models.register(tmp_path / "w.bin", name="net").version == 1
    workspace.models.delete("net:1")
    found = workspace.model_names.get("net")
    assert (found.description, found.tags, found.versions) == ("a net", {"a": "b"}, ())
    assert workspace.models.register(tmp_path / "w.bin", name="net").version == 2
    workspace.model_names.delete("net")
    with pytest.raises(NotFoundError):
        workspace.model_names.get("net")
    assert workspace.models.register(tmp_path / "w.bin", name="net").version == 3


def test_a_name_that_was_never_described_began_with_its_first_version(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(b"1")
    workspace.models.register(tmp_path / "w.bin", name="net")
    found = workspace.model_names.get("net")
    [version] = found.versions
    assert found.created_ms == version.created_ms > 1_700_000_000_000
    workspace.model_names.tag("net", set={"k": "v"})
    described = workspace.model_names.describe("net", "words")
    assert (described.created_ms, described.tags) == (version.created_ms, {"k": "v"})
    workspace.model_names.tag("net", remove=("k", "none"))
    assert [name.tags for name in workspace.model_names.list()] == [{}]


def test_a_version_from_a_runs_files_copies_no_byte_and_keeps_them(workspace: Workspace) -> None:
    run, files = _run_with_files(workspace)
    blobs = sum(path.is_file() for path in (workspace.root / "store/blobs").rglob("*"))
    origin = Origin("runs:/x/model", "ada", 1_700_000_000_000, stage="None")
    model = workspace.models.register_stored(files, name="net", run=run, origin=origin)
    after = sum(path.is_file() for path in (workspace.root / "store/blobs").rglob("*"))
    assert after == blobs + 2  # its manifest, and that one's empty configuration
    workspace.tracking.files.remove(run, ["model/w.bin", "model/b.txt"])
    workspace.purge()
    assert b"".join(workspace.models.chunks("net:1", "w.bin")[1]) == b"weights"
    assert [file.path for file in model.files] == ["b.txt", "w.bin"]
    version = workspace.model_names.version("net", 1)
    assert (version.run, version.origin, version.created_ms) == (
        run,
        Origin("runs:/x/model", "ada", 1_700_000_000_000, updated_ms=1_700_000_000_000),
        1_700_000_000_000,
    )
    with pytest.raises(InUseError):
        workspace.tracking.runs.remove(run)
    assert_clean(workspace)


def test_it_has_the_digest_of_the_same_files_registered_from_disk(
    workspace: Workspace, tmp_path: Path
) -> None:
    run, files = _run_with_files(workspace)
    workspace.tracking.files.download(run, tmp_path / "down", folder="model")
    from_disk = workspace.models.register(tmp_path / "down/model", name="disk")
    assert workspace.models.register_stored(files, name="net").digest == from_disk.digest


def test_what_is_not_whole_is_not_registered(workspace: Workspace) -> None:
    run, files = _run_with_files(workspace)
    [blob] = workspace.root.rglob(files[0].digest.removeprefix("sha256:"))
    blob.chmod(0o600)
    blob.write_bytes(b"damaged")
    for wrong, error in (
        (files, DamagedBlobError),
        ([StoredFile("x", 1, "sha256:" + "0" * 64)], DamagedBlobError),
        ([], InvalidSourceError),
    ):
        with pytest.raises(error):
            workspace.models.register_stored(wrong, name="net", run=run)
    with pytest.raises(NotFoundError):
        workspace.models.register_stored(files[1:], name="net", run="0" * 32)
    assert workspace.models.list() == []
    assert workspace.tracking.files.read(run, "model/b.txt") == b"words"


def test_stages_go_with_versions(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"1")
    for _ in range(2):
        workspace.models.register(tmp_path / "w.bin", name="net")
        last = workspace.models.get("net").version
        workspace.model_names.set_stage("net", last, "production", is_alone=True)
    stages = [
        v.origin.stage
        for v in workspace.model_names.search_versions(order_by=["version_number"]).items
        if v.origin is not None
    ]
    assert stages == ["Archived", "Production"]
    with pytest.raises(InvalidNameError):
        workspace.model_names.set_stage("net", 1, "x", is_alone=False)
    with pytest.raises(NotFoundError):
        workspace.model_names.set_stage("net", 9, "Staging", is_alone=False)


def test_a_name_in_use_is_not_deleted(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"1")
    workspace.models.register(tmp_path / "w.bin", name="net")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): ...\n")
    workspace.images.create("web", models=["net:1"], script=str(tmp_path / "score.py"))
    with pytest.raises(InUseError, match="image web:1"):
        workspace.model_names.delete("net")
