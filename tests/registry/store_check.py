"""Checks a workspace from outside: with its public verbs and the files on its disk."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from registry import Workspace


def blob_folder(workspace: Workspace) -> Path:
    """Where the blobs lie, as the OCI image layout says."""
    return workspace.root / "store" / "blobs" / "sha256"


def blob_path(workspace: Workspace, digest: str) -> Path:
    """Where the blob ``digest`` lies."""
    return blob_folder(workspace) / digest.removeprefix("sha256:")


def blobs(workspace: Workspace) -> set[str]:
    """The digests of all blobs that are there."""
    return {f"sha256:{path.name}" for path in blob_folder(workspace).iterdir()}


def reachable(workspace: Workspace) -> set[str]:
    """The digests that models and images lead to."""
    found: set[str] = set()
    for model in workspace.models.list():
        found |= {file.digest for file in model.files} | _named_by(workspace, model.digest)
    for image in workspace.images.list():
        if image.digest is not None:
            for digest in (image.digest, *image.details.referrers):
                found |= _named_by(workspace, digest)
    return found


def plain(data: bytes) -> bytes:
    """What a blob holds, unpacked if it is a compressed layer."""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def downloaded(workspace: Workspace, reference: str) -> dict[str, bytes]:
    """The files of a model by their paths."""
    with tempfile.TemporaryDirectory() as folder:
        return contents(workspace.models.download(reference, Path(folder, "out")))


def assert_clean(workspace: Workspace) -> None:
    """Nothing is in the store that no record leads to, and nothing is missing or damaged."""
    assert blobs(workspace) == reachable(workspace)
    for digest in blobs(workspace):
        with blob_path(workspace, digest).open("rb") as file:
            assert f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest
    assert_no_leftovers(workspace)


def assert_no_leftovers(workspace: Workspace) -> None:
    """No operation left an upload or a lease."""
    assert list((workspace.root / "store" / "uploads").iterdir()) == []
    assert list((workspace.root / "leases").iterdir()) == []


def manifest(workspace: Workspace, digest: str) -> Any:
    """The JSON document that is stored as ``digest``."""
    return json.loads(blob_path(workspace, digest).read_bytes())


def _named_by(workspace: Workspace, digest: str) -> set[str]:
    document = manifest(workspace, digest)
    return {digest, document["config"]["digest"], *(la["digest"] for la in document["layers"])}
