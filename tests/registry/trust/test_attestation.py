"""What is recorded as an image's SBOM and signature is checked, whatever it turns out to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from registry import Workspace, attestation
from registry.blobs import BlobStore
from registry.errors import TrustError
from registry.paths import WorkspacePaths
from registry.trust import WorkspaceKey
from tests.registry import onnx_files


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b"[]",
        b"no JSON",
        json.dumps({"layers": []}).encode(),
        json.dumps({"artifactType": "application/vnd.dsse.envelope.v1+json"}).encode(),
    ],
)
def test_a_referrer_of_another_form_is_refused_in_words(
    workspace: Workspace, tmp_path: Path, document: bytes
) -> None:
    workspace.models.register(onnx_files.adder(tmp_path / "net.onnx"), name="net")
    image = workspace.images.create("i", models=["net"])
    store = BlobStore(WorkspacePaths(workspace.root))
    key = WorkspaceKey.load(workspace.root / "keys").public
    assert attestation.check(store, image, [key]).statement.reference == "i:1"
    digest, _ = store.put([document])
    strange = replace(image, details=replace(image.details, referrers=(digest,)))
    with pytest.raises(TrustError):
        attestation.check(store, strange, [key])
