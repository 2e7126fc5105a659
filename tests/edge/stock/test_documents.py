"""Manifests and configs that make no sense are refused in one line."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import PullError
from edge.stock.device_stock import DeviceStock
from edge.stock.documents import read_manifest, stored_image
from registry import media_types
from registry.errors import RegistryError
from registry.image_tree import BUNDLE_ROOT
from tests.edge.stock.signed_images import put_image, stored

DIGEST = f"sha256:{'a' * 64}"
GOOD: dict[str, Any] = {
    "schemaVersion": 2,
    "config": {"mediaType": media_types.CONFIG, "digest": DIGEST, "size": 2},
    "layers": [{"mediaType": media_types.LAYER, "digest": f"sha256:{'b' * 64}", "size": 3}],
}


def changed(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def layer(**fields: object) -> bytes:
    return changed(layers=[{**GOOD["layers"][0], **fields}])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read"),
        (b"<html>log in</html>", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"config": 1}', "cannot be read"),
        (b"\xff", "cannot be read"),
        (changed(layers=[GOOD["layers"][0]] * 201), "more than 200 layers"),
        (layer(size=-1), "without digest or size"),
        (layer(digest="sha256:../../etc/passwd"), "without digest or size"),
        (layer(digest="sha512:" + "a" * 64), "without digest or size"),
        (layer(mediaType="application/vnd.oci.image.layer.v1.tar+zstd"), "does not make"),
        (changed(artifactType="text/x\x1b[2J"), "which no device runs"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PullError, match=message) as caught:
        read_manifest(data)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: json.dumps(t).encode()))
def test_whatever_comes_is_a_manifest_or_a_pull_error(data: bytes) -> None:
    with pytest.raises(PullError):
        read_manifest(data)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", "cannot be read"),
        (b"{}", "other layers than its manifest"),
        (b'{"rootfs": {"diff_ids": ["x"]}}', "a layer without digest"),
    ],
)
def test_a_config_that_cannot_be_is_refused(config: bytes, message: str) -> None:
    with pytest.raises(PullError, match=message):
        stored_image(DIGEST, read_manifest(changed()), config)


@pytest.mark.parametrize("version", ["", "x", "-1", "1" * 10, "٣"])
def test_a_version_that_is_none_is_none(version: str) -> None:
    manifest = read_manifest(changed(annotations={"dev.inferry.version": version}))
    config = json.dumps({"rootfs": {"diff_ids": [DIGEST]}}).encode()
    assert stored_image(DIGEST, manifest, config).version is None


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _file(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


HOSTILE = [
    _tar((_file("../../evil"), b"x")),
    _tar((_file("/etc/evil"), b"x")),
    _tar((_file(f"{BUNDLE_ROOT}/../../../evil"), b"x")),
    _tar((_file("etc/evil"), b"x")),
    _tar((_file(f"{BUNDLE_ROOT}/l", tarfile.SYMTYPE, "/etc"), b"")),
    _tar((_file(f"{BUNDLE_ROOT}/l", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    _tar((_file(f"{BUNDLE_ROOT}/d", tarfile.CHRTYPE), b"")),
    _tar((_file(f"{BUNDLE_ROOT}/bundle.json"), b"x")),  # the code layer has that
    b"no tar at all",
    _tar((_file(f"{BUNDLE_ROOT}/x"), b"x" * 5000))[:3000],
]


@pytest.mark.parametrize("layer_tar", HOSTILE)
def test_a_hostile_layer_is_not_unpacked(
    stock: DeviceStock, tmp_path: Path, layer_tar: bytes
) -> None:
    image = put_image(stock.blobs)
    document = json.loads(stock.blobs.read(image.digest))
    digest, size = stock.blobs.put([layer_tar])
    document["layers"][1].update(digest=digest, size=size)
    config = json.loads(stock.blobs.read(document["config"]["digest"]))
    config["rootfs"]["diff_ids"][1] = digest
    config_digest, config_size = stock.blobs.put([json.dumps(config).encode()])
    document["config"].update(digest=config_digest, size=config_size)
    manifest, manifest_size = stock.blobs.put([json.dumps(document).encode()])
    stock.mark(manifest, {manifest: manifest_size, digest: size, config_digest: config_size}, [])
    with pytest.raises((PullError, RegistryError)):
        stock.bundle(manifest)
    assert list(stock._bundles.iterdir()) == []
    assert not (tmp_path / "evil").exists()
    assert not os.path.exists("/etc/evil")
    assert stored(stock, image)
    assert stock.bundle(image.digest).is_dir()


def test_golden_inputs_that_are_too_large_are_refused(stock: DeviceStock) -> None:
    digest = stored(stock, put_image(stock.blobs, golden=bytes(4 * 1024 * 1024 + 1)))
    with pytest.raises(PullError, match="larger than"):
        stock.golden(digest)


def test_an_image_without_a_bundle_file_is_none(stock: DeviceStock) -> None:
    image = put_image(stock.blobs, changes={})
    document = json.loads(stock.blobs.read(image.digest))
    config = json.loads(stock.blobs.read(document["config"]["digest"]))
    del document["layers"][0], config["rootfs"]["diff_ids"][0]
    config_digest, config_size = stock.blobs.put([json.dumps(config).encode()])
    document["config"].update(digest=config_digest, size=config_size)
    manifest, size = stock.blobs.put([json.dumps(document).encode()])
    blobs = {e["digest"]: e["size"] for e in (document["config"], *document["layers"])}
    stock.mark(manifest, {**blobs, manifest: size}, [])
    with pytest.raises(PullError, match=r"has no bundle\.json"):
        stock.bundle(manifest)
