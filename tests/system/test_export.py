"""Real programs read what export writes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from registry import Workspace
from registry.blobs import BlobStore
from registry.export import export_docker, export_oci
from registry.paths import WorkspacePaths
from tests.engine import Engine, program
from tests.registry.store_check import contents
from tests.registry.stored_image import WORDS, put_image, put_referrer

LIMIT_S = 120


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    """The store of a new workspace."""
    return BlobStore(WorkspacePaths(Workspace.init(tmp_path / "ws", base="none").root))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_docker_loads_and_runs_it(
    engine: Engine, debian_base: Path, store: BlobStore, tmp_path: Path
) -> None:
    digest = put_image(store, debian_base)
    tag = engine.tag()
    export_docker(store, digest, tag, tmp_path / "out.tar")
    assert tag in engine.run("load", "--input", str(tmp_path / "out.tar"))
    assert engine.run("run", "--rm", "--network", "none", tag) == WORDS.decode().strip()
    (tmp_path / "out.tar").unlink()

    config = json.loads(store.read(digest))["config"]["digest"]
    assert engine.run("image", "inspect", "--format", "{{.Id}}", tag) == config


@pytest.mark.slow
def test_docker_loads_what_is_piped_to_it(
    engine: Engine, debian_base: Path, store: BlobStore
) -> None:
    tag = engine.tag()
    command = [program("docker"), "load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        export_docker(store, put_image(store, debian_base), tag, load.stdin)
        load.stdin.close()
        assert tag in load.stdout.read().decode()
    assert engine.run("run", "--rm", "--network", "none", tag) == WORDS.decode().strip()


@pytest.mark.parametrize("name", ["digits", "digits.tar"])
def test_skopeo_copies_it_with_equal_digests(store: BlobStore, tmp_path: Path, name: str) -> None:
    skopeo = program("skopeo")
    digest = put_image(store)
    export_oci(store, digest, [put_referrer(store, digest)], "digits:3", tmp_path / name)
    kind = "oci-archive" if name.endswith(".tar") else "oci"
    image = f"{kind}:{tmp_path / name}:digits:3"
    assert json.loads(_run(skopeo, "inspect", image))["Digest"] == digest
    # Without the option skopeo compresses layers on its way to a layout, and so changes them.
    copy = tmp_path / "copy"
    _run(skopeo, "copy", "--quiet", "--preserve-digests", image, f"oci:{copy}:digits:3")
    (found,) = json.loads((copy / "index.json").read_text())["manifests"]
    assert found["digest"] == digest


def test_skopeo_reads_the_tar_for_docker(store: BlobStore, tmp_path: Path) -> None:
    digest = put_image(store)
    export_docker(store, digest, "digits:3", tmp_path / "digits.tar")
    image = f"docker-archive:{tmp_path}/digits.tar:digits:3"
    config = _run(program("skopeo"), "inspect", "--raw", "--config", image)
    assert config.encode() == store.read(json.loads(store.read(digest))["config"]["digest"])
    _run("skopeo", "copy", "--quiet", image, f"oci:{tmp_path}/copy:digits:3")


def test_skopeo_takes_the_only_image_without_its_name(store: BlobStore, tmp_path: Path) -> None:
    digest = put_image(store)
    export_oci(store, digest, [], "digits:3", tmp_path / "digits.tar")
    seen = json.loads(_run(program("skopeo"), "inspect", f"oci-archive:{tmp_path}/digits.tar"))
    assert seen["Digest"] == digest


def test_umoci_unpacks_it(store: BlobStore, tmp_path: Path) -> None:
    umoci = program("umoci")
    digest = put_image(store)
    export_oci(store, digest, [put_referrer(store, digest)], "3", tmp_path / "digits")
    _run(umoci, "unpack", "--rootless", "--image", f"{tmp_path}/digits:3", f"{tmp_path}/bundle")
    assert contents(tmp_path / "bundle" / "rootfs") == {
        "words.txt": WORDS,
        "model.bin": bytes(5000),
    }
