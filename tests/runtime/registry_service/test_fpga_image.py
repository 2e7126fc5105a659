"""FPGA images on their way: from the workspace over /v2/, with their signature, to a device."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.errors import PullError, UntrustedError
from edge.pull.puller import RegistryPuller
from edge.stock.device_stock import DeviceStock
from edge.stock.port import StoredImage
from registry import Workspace
from registry.errors import DamagedBlobError
from registry.fpga_artifact import FpgaContents
from registry.records import Image
from registry.sbom import MEDIA_TYPE as SBOM_TYPE
from registry.trust import PublicKey, WorkspaceKey
from tests.engine import program
from tests.registry.fpga_folders import FILES, GOLDEN, fpga_folder
from tests.registry.store_check import blob_path, contents
from tests.registry.trust.signed_image import new_key
from tests.runtime.registry_service.served import Served, serving


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With the FPGA image digits:1."""
    workspace = Workspace.init(tmp_path / "ws", base="none")
    (tmp_path / "digits.bin").write_bytes(b"weights")
    workspace.models.register(tmp_path / "digits.bin", name="digits")
    folder = fpga_folder(tmp_path / "compiled")
    workspace.images.create_fpga(
        "digits", models=["digits"], make=lambda *_: FpgaContents(folder, GOLDEN)
    )
    return workspace


@pytest.fixture
def image(workspace: Workspace) -> Image:
    """digits:1."""
    return workspace.images.get("digits")


@pytest.fixture
def served(workspace: Workspace) -> Iterator[Served]:
    """The workspace's registry."""
    with serving(workspace.root) as served:
        yield served


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[DeviceStock]:
    """Of a device."""
    (tmp_path / "state").mkdir()
    with closing(DeviceStock(tmp_path / "state", reserve_bytes=0, boot_id="b")) as stock:
        yield stock


def _pull(
    stock: DeviceStock, served: Served, image: Image, key: PublicKey, name: str = "digits:1"
) -> StoredImage:
    puller = RegistryPuller(stock, served.url, token=None, trusted=[key])
    return puller.pull(
        name,
        image.digest or "",
        keep=set,
        on_progress=lambda done, total: None,
        is_cancelled=lambda: False,
    )


def _key(workspace: Workspace) -> PublicKey:
    return WorkspaceKey.load(workspace.root / "keys").public


def _is_whole(stock: DeviceStock, image: Image) -> bool:
    files = contents(stock.bundle(image.digest or ""))
    assert stock.golden(image.digest or "") == GOLDEN
    return {f"fpga/{name}": data for name, data in FILES.items()}.items() <= files.items()


def test_a_device_pulls_it_whole_and_checks_its_signature(
    workspace: Workspace, image: Image, served: Served, stock: DeviceStock
) -> None:
    found = _pull(stock, served, image, _key(workspace))
    assert (found.kind, found.name, found.version) == ("fpga", "digits", 1)
    assert set(stock.referrers(found.digest)) == set(image.details.referrers)
    assert _is_whole(stock, image)


def test_a_device_takes_none_of_another_key_or_name(
    workspace: Workspace, image: Image, served: Served, stock: DeviceStock
) -> None:
    with pytest.raises(UntrustedError):
        _pull(stock, served, image, new_key().public)
    with pytest.raises((UntrustedError, PullError)):
        _pull(stock, served, image, _key(workspace), name="digits:2")
    assert not stock.has(image.digest or "")


def test_a_push_brings_signature_and_bill_of_materials_along(
    workspace: Workspace, image: Image, stock: DeviceStock, tmp_path: Path
) -> None:
    other = Workspace.init(tmp_path / "other", base="none")
    with serving(other.root) as there:
        pushed = workspace.images.push("digits", f"{there.host}/digits", insecure=True)
        assert pushed.digest == image.digest
        again = workspace.images.push("digits", f"{there.host}/digits", insecure=True)
        assert (again.blobs_sent, again.digest) == (0, image.digest)
        with there.client() as client:
            answer = client.get(f"/v2/digits/referrers/{image.digest}").json()
        types = {each["artifactType"] for each in answer["manifests"]}
        assert len(types) == 2
        assert SBOM_TYPE in types
        _pull(stock, there, image, _key(workspace))
    assert _is_whole(stock, image)


def test_skopeo_copies_it_between_registries_with_its_digest(
    image: Image, served: Served, tmp_path: Path
) -> None:
    skopeo = program("skopeo")
    other = Workspace.init(tmp_path / "other", base="none")
    with serving(other.root) as there:
        names = [f"docker://{each.host}/digits:1" for each in (served, there)]
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        _run(skopeo, "copy", "--preserve-digests", *plain, *names)
        raw = _run(skopeo, "inspect", "--tls-verify=false", "--raw", names[1])
        with there.client() as client:
            answer = client.get("/v2/digits/manifests/1")
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert json.loads(raw)["annotations"]["dev.inferry.fpga.provenance"] == "simulation"


def test_a_byte_that_changed_is_found(workspace: Workspace, image: Image) -> None:
    layers = json.loads(blob_path(workspace, image.digest or "").read_bytes())["layers"]
    workspace.images.verify("digits")
    for layer in layers:
        path = blob_path(workspace, layer["digest"])
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(DamagedBlobError):
            workspace.images.verify("digits")
        path.write_bytes(data)
    workspace.images.verify("digits")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
