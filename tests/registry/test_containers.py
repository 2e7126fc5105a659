"""Images with a base: what is in them, what a change writes, what is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from registry import Image, Workspace
from registry.activities import Activity
from registry.errors import (
    BaseImageError,
    CancelledError,
    InUseError,
    InvalidNameError,
    ProofError,
    RequirementsError,
)
from tests.registry.base import samples
from tests.registry.store_check import (
    assert_clean,
    assert_no_leftovers,
    blob_path,
    blobs,
    contents,
    manifest,
    plain,
)

pytestmark = pytest.mark.xdist_group("containers")  # one workspace for all

SCRIPT = "import msgspec\n\n\ndef init():\n    pass\n\n\ndef run(data):\n    return data\n"
OFFLINE = {name: "http://127.0.0.1:9" for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What images are made of."""
    root = tmp_path_factory.mktemp("containers")
    (root / "base.tar").write_bytes(samples.tar(*samples.debian()))
    (root / "arm.tar").write_bytes(samples.tar(*samples.debian(samples.ARM64)))
    (root / "weights.bin").write_bytes(b"w" * 1_000_000)
    (root / "requirements.txt").write_text("msgspec\n")
    (root / "score.py").write_text(SCRIPT)
    return root


@pytest.fixture(scope="module")
def first(folder: Path) -> tuple[Workspace, Image]:
    """A workspace with one image; a test that changes it works on a copy."""
    workspace = Workspace.init(folder / "ws", base=str(folder / "base.tar"))
    workspace.models.register(folder / "weights.bin", name="m")
    return workspace, create(workspace, folder)


@pytest.fixture
def workspace(first: tuple[Workspace, Image], tmp_path: Path) -> Workspace:
    """A copy of that workspace."""
    shutil.copytree(first[0].root, tmp_path / "ws")
    return Workspace.open(tmp_path / "ws")


def create(workspace: Workspace, folder: Path, name: str = "i", **changed: Any) -> Image:
    given: dict[str, Any] = {
        "models": ["m"],
        "script": folder / "score.py",
        "requirements": folder / "requirements.txt",
        "proof": False,
        "platform": "linux/amd64",
    }
    return workspace.images.create(name, **(given | changed))


def layers(image: Image, kind: str) -> list[str]:
    return [layer.digest for layer in image.details.layers if layer.kind == kind]


def files(workspace: Workspace, digest: str) -> dict[str, tarfile.TarInfo]:
    data = plain(blob_path(workspace, digest).read_bytes())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: info for info in archive}


def config(workspace: Workspace, image: Image) -> Any:
    assert image.digest is not None
    return manifest(workspace, manifest(workspace, image.digest)["config"]["digest"])


def test_layers_come_in_the_order_in_which_they_change(first: tuple[Workspace, Image]) -> None:
    workspace, image = first
    kinds = [layer.kind for layer in image.details.layers]
    assert kinds == ["base", "dependencies", "server", "code", "model"]
    assert image.digest is not None
    document = manifest(workspace, image.digest)
    assert [layer["digest"] for layer in document["layers"]] == [
        layer.digest for layer in image.details.layers
    ]
    plains = [layer["mediaType"].endswith(".tar") for layer in document["layers"]]
    assert plains == [False, False, False, False, True]
    assert [(layer.size_bytes > 0) for layer in image.details.layers] == [True] * 5


def test_the_container_serves_on_5001_as_nobody_in_particular(
    first: tuple[Workspace, Image],
) -> None:
    workspace, image = first
    document = config(workspace, image)
    assert (document["os"], document["architecture"]) == ("linux", "amd64")
    settings = document["config"]
    assert settings["Entrypoint"] == [
        *("/usr/bin/python3.11", "-m", "scoring", "/opt/inferry/bundle"),
        *("--host", "0.0.0.0", "--port", "5001"),
    ]
    assert settings["User"] == "10001:10001"
    assert settings["ExposedPorts"] == {"5001/tcp": {}}
    assert "Cmd" not in settings
    assert "PYTHONPATH=/opt/inferry/server:/opt/inferry/packages" in settings["Env"]
    labels = settings["Labels"]
    assert (labels["dev.inferry.name"], labels["dev.inferry.version"]) == ("i", "1")
    assert labels["dev.inferry.models"] == f"m:1@{workspace.models.get('m').digest}"
    assert labels["org.opencontainers.image.base.digest"] == image.details.base_digest
    assert image.digest is not None
    assert manifest(workspace, image.digest)["annotations"] == labels


def test_packages_server_and_bundle_lie_where_the_container_looks(
    first: tuple[Workspace, Image],
) -> None:
    workspace, image = first
    [packages], [server], [code], [model] = (
        layers(image, kind) for kind in ("dependencies", "server", "code", "model")
    )
    assert "opt/inferry/packages/msgspec/__init__.py" in files(workspace, packages)
    assert "opt/inferry/packages/numpy/__init__.py" in files(workspace, packages)
    assert not any("onnxruntime" in path for path in files(workspace, packages))
    assert "opt/inferry/server/scoring/__main__.py" in files(workspace, server)
    assert {path for path, info in files(workspace, code).items() if info.isreg()} == {
        f"opt/inferry/bundle/{name}"
        for name in ("bundle.json", "code/score.py", "requirements.txt", "requirements.lock")
    }
    assert "opt/inferry/bundle/models/m/1/weights.bin" in files(workspace, model)
    for digest in (packages, server, code, model):
        for info in files(workspace, digest).values():
            assert (info.mtime, info.uid, info.gid, info.uname) == (0, 0, 0, "")
            assert info.isreg() or info.isdir()
            assert info.mode in (0o644, 0o755)


def test_the_bundle_that_is_served_here_has_nothing_of_the_container(
    first: tuple[Workspace, Image], tmp_path: Path
) -> None:
    workspace, image = first
    found = contents(workspace.images.unpack("i", tmp_path / "out"))
    assert set(found) == {
        *("bundle.json", "code/score.py", "requirements.txt", "requirements.lock"),
        "models/m/1/weights.bin",
    }
    assert image.details.lock is not None
    assert found["requirements.lock"].decode() == image.details.lock
    assert json.loads(found["bundle.json"])["lock_digest"].startswith("sha256:")
    assert all("--hash=sha256:" in line for line in image.details.lock.splitlines())


def test_a_changed_script_writes_one_layer(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.images.get("i")
    there = blobs(workspace)
    (tmp_path / "score.py").write_text(SCRIPT + "# changed\n")
    (tmp_path / "requirements.txt").write_text("msgspec\n")
    after = create(workspace, tmp_path)
    assert layers(after, "code") != layers(before, "code")
    for kind in ("base", "dependencies", "server", "model"):
        assert layers(after, kind) == layers(before, kind)
    new = blobs(workspace) - there
    large = [digest for digest in new if blob_path(workspace, digest).stat().st_size > 50_000]
    assert large == []
    assert layers(after, "code")[0] in new
    assert after.details.lock == before.details.lock


def test_a_changed_model_writes_one_layer(workspace: Workspace, folder: Path) -> None:
    (folder / "other.bin").write_bytes(b"o" * 1_000_000)
    workspace.models.register(folder / "other.bin", name="m")
    there = blobs(workspace)
    after = create(workspace, folder)
    new = {
        digest: blob_path(workspace, digest).stat().st_size for digest in blobs(workspace) - there
    }
    [model] = layers(after, "model")
    assert new.pop(model) > 1_000_000
    assert sum(new.values()) < 50_000


def test_equal_inputs_give_equal_digests_in_another_folder_and_year(
    first: tuple[Workspace, Image], folder: Path, tmp_path: Path
) -> None:
    workspace, image = first
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("base.tar", "weights.bin", "requirements.txt", "score.py"):
        shutil.copyfile(folder / name, other / f"copy-of-{name}")
    for name in ("requirements.txt", "score.py"):
        (other / f"copy-of-{name}").rename(other / name)
    (other / "copy-of-weights.bin").rename(other / "weights.bin")
    for path in other.iterdir():
        os.utime(path, (1, 1))
    again = Workspace.init(
        other / "ws", base=str(other / "copy-of-base.tar"), clock=lambda: "2055-01-01T00:00:00Z"
    )
    shutil.copytree(workspace.root / "wheels", again.root / "wheels")
    again.models.register(other / "weights.bin", name="m")
    made = create(again, other)
    assert made.digest == image.digest


def test_the_lock_is_a_requirements_file_that_gives_the_same_packages(
    first: tuple[Workspace, Image], workspace: Workspace, tmp_path: Path
) -> None:
    image = first[1]
    (tmp_path / "lock.txt").write_text(str(image.details.lock))
    (tmp_path / "score.py").write_text(SCRIPT)
    locked = create(workspace, tmp_path, requirements=tmp_path / "lock.txt")
    assert locked.details.lock == image.details.lock


def test_an_image_for_arm_is_made_here(workspace: Workspace, folder: Path) -> None:
    made = create(
        workspace, folder, base=str(folder / "arm.tar"), platform="linux/arm64", proof=True
    )
    assert config(workspace, made)["architecture"] == "arm64"
    [packages] = layers(made, "dependencies")
    libraries = [path for path in files(workspace, packages) if path.endswith(".so")]
    assert libraries
    assert not any("x86_64" in path for path in libraries)
    assert any("aarch64" in path for path in libraries)


@pytest.mark.parametrize(("base", "platform"), [("arm.tar", "amd64"), ("base.tar", "arm64")])
def test_a_base_for_another_processor_is_refused(
    workspace: Workspace, folder: Path, base: str, platform: str
) -> None:
    with pytest.raises(BaseImageError, match=r"linux/a.*64"):
        create(workspace, folder, base=str(folder / base), platform=f"linux/{platform}")
    failed = workspace.images.get("i")
    assert (failed.state, failed.digest) == ("failed", None)
    assert failed.cause is not None
    assert "linux/" in failed.cause
    assert workspace.activities.list()[0].state == "failed"
    workspace.purge()
    assert_no_leftovers(workspace)


def test_a_conda_file_for_another_python_is_refused(workspace: Workspace, folder: Path) -> None:
    conda = folder / "conda.yml"
    conda.write_text("dependencies: [python=3.9, msgspec]\n")
    with pytest.raises(RequirementsError, match=r"3\.9.*3\.11"):
        create(workspace, folder, requirements=None, conda=conda)


@pytest.mark.parametrize(
    "line",
    [
        *("--index-url https://evil.example/simple", "-r /etc/passwd", "git+ext::sh -c id"),
        *("x @ https://evil.example/x.whl", "x; $(id)", "`id`", "./x.whl", "-e ."),
    ],
)
def test_requirements_that_are_more_than_names_are_refused_before_anything_is_made(
    workspace: Workspace, folder: Path, tmp_path: Path, line: str
) -> None:
    before = workspace.images.list()
    (tmp_path / "requirements.txt").write_text(f"msgspec\n{line}\n")
    with pytest.raises(RequirementsError, match="line 2"):
        create(workspace, folder, requirements=tmp_path / "requirements.txt")
    assert workspace.images.list() == before


def test_a_package_that_does_not_exist_fails_the_image_with_its_name(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("no-such-package-of-inferry\n")
    with pytest.raises(RequirementsError, match="no-such-package-of-inferry"):
        create(workspace, folder, requirements=tmp_path / "requirements.txt")
    failed = workspace.images.get("i")
    assert failed.state == "failed"
    assert "no-such-package-of-inferry" in str(failed.cause)
    assert "failed:" in failed.log


def test_without_network_an_image_of_known_requirements_is_made(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    (tmp_path / "score.py").write_text(SCRIPT + "# offline\n")
    (tmp_path / "requirements.txt").write_text("msgspec\n")
    assert create(workspace, tmp_path).state == "succeeded"


def test_a_build_can_be_cancelled_and_leaves_a_record_only(
    workspace: Workspace, folder: Path
) -> None:
    there = blobs(workspace)

    def cancel(activity: Activity) -> None:
        if activity.is_running and activity.phase == "Packing":
            workspace.activities.cancel(activity.id)

    (folder / "third.bin").write_bytes(os.urandom(300_000_000))
    workspace.models.register(folder / "third.bin", name="m")
    there = blobs(workspace)
    with pytest.raises(CancelledError):
        create(workspace, folder, on_change=cancel)
    failed = workspace.images.get("i")
    assert (failed.state, failed.digest) == ("failed", None)
    assert workspace.activities.list()[0].state == "cancelled"
    assert blobs(workspace) == there
    assert_no_leftovers(workspace)


def test_a_name_that_docker_refuses_is_refused_at_once(workspace: Workspace, folder: Path) -> None:
    for name in ("Upper", "a..b", "a.-b", "x_", "a___b"):
        with pytest.raises(InvalidNameError):
            create(workspace, folder, name)
    assert len(workspace.images.list()) == 1


def test_what_a_deployment_runs_cannot_be_deleted(workspace: Workspace) -> None:
    workspace.images.hold("i:1", "web")
    assert workspace.images.hold("i:1", "web").users == ("web",)
    with pytest.raises(InUseError, match="deployment web"):
        workspace.images.delete("i:1")
    workspace.images.release("i:1", "web")
    assert workspace.images.delete("i:1").users == ()


def test_the_revision_is_the_commit_of_the_code(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "score.py").write_text(SCRIPT)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-C", str(code)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    made = create(workspace, folder, script=code / "score.py")
    assert made.details.revision == head
    labels = config(workspace, made)["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == head


def test_purge_keeps_all_of_an_image_and_frees_all_of_a_deleted_one(workspace: Workspace) -> None:
    wheels = set((workspace.root / "wheels").iterdir())
    workspace.purge()
    image = workspace.images.get("i")
    for layer in image.details.layers:
        assert blob_path(workspace, layer.digest).exists()
    assert set((workspace.root / "wheels").iterdir()) == wheels
    workspace.images.delete("i")
    planned = workspace.purge(dry_run=True)
    assert set((workspace.root / "wheels").iterdir()) == wheels
    assert workspace.purge() == planned
    assert planned.size_bytes > 10_000_000
    assert list((workspace.root / "wheels").iterdir()) == []
    assert_clean(workspace)


def test_a_wheelhouse_that_is_no_folder_is_refused_also_when_a_lock_is_known(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequirementsError, match="no folder"):
        create(workspace, folder, wheelhouse=tmp_path / "typo")


def test_a_base_is_known_again_from_another_folder(
    workspace: Workspace, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    shutil.copyfile(folder / "base.tar", tmp_path / "a/rootfs.tar")
    monkeypatch.chdir(tmp_path / "a")
    first = create(workspace, folder, base="./rootfs.tar")
    monkeypatch.chdir(tmp_path / "b")
    second = create(workspace, folder, base="../a/rootfs.tar")
    assert layers(second, "base") == layers(first, "base")
    assert "org.opencontainers.image.base.name" not in config(workspace, second)["config"]["Labels"]


def test_a_failed_build_keeps_what_the_next_can_use(workspace: Workspace, tmp_path: Path) -> None:
    """A base that nothing but the failed build has read."""
    other = samples.tar(*samples.debian(), samples.entry("./etc/motd", b"other"))
    (tmp_path / "base.tar").write_bytes(other)
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / "requirements.txt").write_text("no-such-package-of-inferry\n")
    there = blobs(workspace)
    with pytest.raises(RequirementsError):
        create(workspace, tmp_path, base=str(tmp_path / "base.tar"))
    assert len(blobs(workspace) - there) == 1
    workspace.purge()
    assert blobs(workspace) == there


def test_what_is_read_is_held_while_someone_deletes_and_purges(
    workspace: Workspace, tmp_path: Path
) -> None:
    def delete(done: int, total: int) -> None:
        if workspace.images.list():
            workspace.images.delete("i")
            workspace.purge()

    target = workspace.images.export("i", tmp_path / "out", on_progress=delete)
    assert (target / "index.json").is_file()
    assert workspace.images.list() == []
    workspace.purge()
    assert_clean(workspace)


def test_without_an_engine_the_proof_is_a_process_with_the_same_layers(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
    base = samples.tar(*samples.debian(minor=sys.version_info[1]))
    (tmp_path / "base.tar").write_bytes(base)
    (tmp_path / "requirements.txt").write_text("msgspec\n")
    (tmp_path / "score.py").write_text(SCRIPT)
    made = create(workspace, tmp_path, base=str(tmp_path / "base.tar"), proof=True)
    assert str(made.details.proof).startswith("process: ")
    assert [layer.kind for layer in made.details.layers][-1] == "model"
    (tmp_path / "score.py").write_text(SCRIPT.replace("pass", "raise ValueError('no weights')"))
    with pytest.raises(ProofError, match="no weights"):
        create(workspace, tmp_path, base=str(tmp_path / "base.tar"), proof=True)
    failed = workspace.images.get("i")
    assert (failed.state, failed.digest) == ("failed", None)
    assert "no weights" in str(failed.cause)
    workspace.images.delete(failed.reference)
    workspace.purge()
    assert_clean(workspace)
