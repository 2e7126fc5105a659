"""The registry with the real programs: docker, skopeo, umoci, Debian's docker-registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from tests.engine import DockerRegistry, Engine, program
from tests.runtime.registry_service.served import Served, push_image, serving

PLAIN_SOURCE = "--src-tls-verify=false"
PLAIN_TARGET = "--dest-tls-verify=false"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty one."""
    return Workspace.init(tmp_path / "ws", base="none")


@pytest.fixture
def served(workspace: Workspace) -> Iterator[Served]:
    """Its registry."""
    with serving(workspace.root) as served:
        yield served


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """A small image as an OCI layout that umoci made: one layer, gzip."""
    umoci, folder = program("umoci"), tmp_path / "made"
    _run(umoci, "init", "--layout", str(folder))
    _run(umoci, "new", "--image", f"{folder}:1")
    (tmp_path / "hello").write_text("hello\n" * 1000)
    _run(umoci, "insert", "--rootless", "--image", f"{folder}:1", str(tmp_path / "hello"), "/hello")
    return f"oci:{folder}:1"


def test_skopeo_copies_in_and_out_with_equal_digests(
    served: Served, layout: str, tmp_path: Path
) -> None:
    skopeo = program("skopeo")
    ref = f"docker://{served.host}/team/hello:1"
    _run(skopeo, "copy", PLAIN_TARGET, layout, ref)
    back = f"oci:{tmp_path / 'back'}:1"
    _run(skopeo, "copy", PLAIN_SOURCE, ref, back)
    digests = {_digest(skopeo, image) for image in (layout, ref, back)}
    assert len(digests) == 1
    tags = json.loads(_run(skopeo, "list-tags", "--tls-verify=false", ref.rpartition(":")[0]))
    assert tags["Tags"] == ["1"]
    _run(skopeo, "delete", "--tls-verify=false", ref)
    with pytest.raises(AssertionError, match=r"NAME_UNKNOWN|name unknown|unknown"):
        _digest(skopeo, ref)


def test_umoci_unpacks_what_was_pulled(served: Served, layout: str, tmp_path: Path) -> None:
    skopeo, umoci = program("skopeo"), program("umoci")
    ref = f"docker://{served.host}/hello:1"
    _run(skopeo, "copy", PLAIN_TARGET, layout, ref)
    _run(skopeo, "copy", PLAIN_SOURCE, ref, f"oci:{tmp_path / 'back'}:1")
    _run(umoci, "unpack", "--rootless", "--image", f"{tmp_path / 'back'}:1", str(tmp_path / "out"))
    assert (tmp_path / "out/rootfs/hello").read_text() == "hello\n" * 1000


def test_dockers_own_registry_takes_a_copy_with_the_same_digest(
    served: Served, layout: str, docker_registry: DockerRegistry
) -> None:
    skopeo = program("skopeo")
    ours = f"docker://{served.host}/hello:1"
    theirs = f"docker://{docker_registry.host}/hello:1"
    _run(skopeo, "copy", PLAIN_TARGET, layout, ours)
    _run(skopeo, "copy", PLAIN_SOURCE, PLAIN_TARGET, ours, theirs)
    assert _digest(skopeo, ours) == _digest(skopeo, theirs)
    _run(skopeo, "copy", PLAIN_SOURCE, PLAIN_TARGET, theirs, f"{ours}-back")
    assert _digest(skopeo, f"{ours}-back") == _digest(skopeo, ours)


def test_an_image_of_the_workspace_is_pulled_by_version_and_latest(
    workspace: Workspace, served: Served, tmp_path: Path
) -> None:
    skopeo = program("skopeo")
    (tmp_path / "m.bin").write_bytes(b"weights")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(tmp_path / "m.bin", name="m")
    image = workspace.images.create("digits", models=["m"], script=tmp_path / "score.py")
    for tag in ("1", "latest"):
        ref = f"docker://{served.host}/digits:{tag}"
        assert _digest(skopeo, ref) == image.digest
        # Without that, skopeo compresses the plain layers of models.
        copied = f"oci:{tmp_path / tag}:1"
        _run(skopeo, "copy", "--preserve-digests", PLAIN_SOURCE, ref, copied)
        assert _digest(skopeo, copied) == image.digest


def test_docker_pushes_pulls_and_runs(
    served: Served, engine: Engine, engine_base: str, workspace: Workspace
) -> None:
    ref = engine.owned(f"{served.host}/base:run")
    engine.run("tag", engine_base, ref)
    engine.run("push", ref)
    assert "Layer already exists" in engine.run("push", ref)
    pushed = engine.run("image", "inspect", "--format", "{{.Id}}", ref)
    other = engine.owned(f"{served.host}/mounted/base:run")
    engine.run("tag", ref, other)
    assert "Mounted from" in engine.run("push", other)
    engine.run("image", "rm", ref, other)
    workspace.purge()
    engine.run("pull", ref)
    assert engine.run("image", "inspect", "--format", "{{.Id}}", ref) == pushed
    assert engine.run("run", "--rm", ref, "/bin/sh", "-c", "echo it runs") == "it runs"


def test_docker_logs_in_with_a_token_and_only_with_it(
    workspace: Workspace, served: Served, engine: Engine, engine_base: str, tmp_path: Path
) -> None:
    tokens = Distribution.open(workspace.root).tokens
    write, read = tokens.create("ci", "contributor", None), tokens.create("device", "puller", None)
    ref = engine.owned(f"{served.host}/base:1")
    engine.run("tag", engine_base, ref)
    with pytest.raises(AssertionError, match="no basic auth"):
        engine.run("push", ref)
    as_device, as_ci = tmp_path / "device", tmp_path / "ci"
    with pytest.raises(AssertionError, match="401 Unauthorized"):
        _login(engine, as_ci, served, "ify_wrong")
    _login(engine, as_device, served, read)
    _login(engine, as_ci, served, write)
    with pytest.raises(AssertionError, match="denied"):
        engine.run("--config", str(as_device), "push", ref)
    engine.run("--config", str(as_ci), "push", ref)
    engine.run("image", "rm", ref)
    engine.run("--config", str(as_device), "pull", ref)
    tokens.revoke("device")
    with pytest.raises(AssertionError, match=r"no basic auth|unauthorized"):
        engine.run("--config", str(as_device), "pull", ref)


def test_docker_says_why_a_version_cannot_be_pushed(
    served: Served, engine: Engine, engine_base: str, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"weights")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(tmp_path / "m.bin", name="m")
    workspace.images.create("digits", models=["m"], script=tmp_path / "score.py")
    for tag in ("2", "latest"):
        ref = engine.owned(f"{served.host}/digits:{tag}")
        engine.run("tag", engine_base, ref)
        with pytest.raises(AssertionError, match="versions never change"):
            engine.run("push", ref)


def test_a_large_push_arrives_whole(served: Served) -> None:
    with served.client() as client:
        layer = bytes(range(256)) * 400_000
        digest = push_image(client, "large", "1", [layer])
        found = client.get(f"/v2/large/manifests/{digest}").json()["layers"][0]["digest"]
        assert client.get(f"/v2/large/blobs/{found}").content == layer


def _login(engine: Engine, config: Path, served: Served, token: str) -> None:
    engine.run(
        "--config", str(config), "login", "--username", "x", "--password", token, served.host
    )


def _digest(skopeo: str, image: str) -> str:
    return str(json.loads(_run(skopeo, "inspect", "--tls-verify=false", image))["Digest"])


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout
