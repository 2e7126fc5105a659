"""Images by URL: made there, taken out here."""

from __future__ import annotations

import inspect
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest

from registry import Workspace
from registry.activities import Activity
from registry.errors import ImageFailedError, InUseError, NotFoundError, RegistryError
from registry.images import Images
from runtime.remote import RemoteWorkspace
from runtime.remote.images import RemoteImages
from runtime.serving import Kind, Target, laid_out
from tests.registry.onnx_files import adder
from tests.runtime.remote.served import Served

SCRIPT = "import helper\n\ndef init(): ...\n\ndef run(data):\n    return data\n"


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteWorkspace]:
    with served.remote() as found:
        yield found


@pytest.fixture
def local(served: Served) -> Workspace:
    return served.local()


@pytest.fixture
def model(remote: RemoteWorkspace, tmp_path: Path) -> str:
    return remote.models.register(adder(tmp_path / "m.onnx"), name="adder").reference


def _api(served: Served) -> str:
    return f"{served.url}/api/v1/workspaces/default"


def test_the_methods_are_called_as_those_of_a_workspace_here() -> None:
    for name, method in inspect.getmembers(RemoteImages, inspect.isfunction):
        if not name.startswith("_") and name != "create_fpga":
            ours, theirs = (
                [(each.name, each.kind, each.default) for each in found.parameters.values()]
                for found in map(inspect.signature, (method, getattr(Images, name)))
            )
            assert ours == theirs, name


def test_an_image_is_made_of_files_of_this_machine(
    remote: RemoteWorkspace, local: Workspace, model: str, tmp_path: Path
) -> None:
    source = tmp_path / "code"
    (source / ".git").mkdir(parents=True)
    (source / ".git" / "HEAD").write_text("not for the service")
    (source / "sub").mkdir()
    (source / "score.py").write_text(SCRIPT)
    (source / "helper.py").write_text("")
    (source / "sub" / "run.sh").write_text("echo")
    (source / "sub" / "run.sh").chmod(0o755)
    told: list[Activity] = []
    made = remote.images.create(
        "coded",
        models=[model],
        script=source / "score.py",
        source=source,
        tags={"k": "v"},
        description="d",
        max_batch=3,
        base="none",
        proof=False,
        on_change=told.append,
    )
    assert made == local.images.get("coded:1") == remote.images.get("coded")
    assert (made.script, made.tags, made.models) == ("score.py", {"k": "v"}, (model,))
    assert told[-1].state == "succeeded"
    assert told[-1].subject == "coded:1"
    assert b"succeeded" in remote.activities.log(told[-1].id)

    # Made here of the same files it is the same image, but for its name.
    here = local.images.create(
        "coded",
        models=[model],
        script=source / "score.py",
        source=source,
        max_batch=3,
        base="none",
        proof=False,
    )
    ours, theirs = (
        sorted(
            (each.relative_to(folder).as_posix(), each.read_bytes(), each.stat().st_mode)
            for each in folder.rglob("*")
            if each.is_file() and each.name != "bundle.json"
        )
        for folder in (
            remote.images.unpack("coded:1", tmp_path / "ours"),
            local.images.unpack(here.reference, tmp_path / "theirs"),
        )
    )
    assert ours == theirs
    assert not any(".git" in path for path, _, _ in ours)
    assert list((local.root / "making").iterdir()) == []


def test_a_script_alone_and_a_model_alone(
    remote: RemoteWorkspace, model: str, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(SCRIPT.replace("import helper\n", ""))
    made = remote.images.create(
        "alone", models=[model], script=tmp_path / "score.py", base="none", proof=False
    )
    assert (made.state, made.script) == ("succeeded", "score.py")
    assert remote.images.create("alone", models=[model], base="none", proof=False).version == 2
    assert [each.version for each in remote.images.list(name="alone")] == [1, 2]


def test_what_is_wrong_is_refused_before_anything_is_recorded(
    remote: RemoteWorkspace, local: Workspace, model: str, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="no model nobody"):
        remote.images.create("wrong", models=["nobody"], base="none")
    (tmp_path / "requirements.txt").write_text("pkg @ http://169.254.169.254/x.whl\n")
    (tmp_path / "score.py").write_text(SCRIPT)
    with pytest.raises(RegistryError):
        remote.images.create(
            "wrong",
            models=[model],
            script=tmp_path / "score.py",
            requirements=tmp_path / "requirements.txt",
            base="none",
        )
    assert local.images.list(name="wrong") == []


def test_an_image_that_fails_says_why_and_leaves_a_record(
    remote: RemoteWorkspace, model: str, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "base.tar", "w") as tar:
        tar.add(tmp_path / "m.onnx", "etc/motd")  # there is no Python in it
    with pytest.raises(ImageFailedError) as failed:
        remote.images.create("failing", models=[model], base=str(tmp_path / "base.tar"))
    found = remote.images.get("failing:1")
    assert (found.state, found.cause) == ("failed", str(failed.value))
    assert remote.activities.list(limit=1)[0].state == "failed"
    with pytest.raises(ImageFailedError):
        remote.images.export("failing:1", tmp_path / "out.tar")


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("127.0.0.1:9/python:3", "public"),
        ("localhost:9/python:3", "public"),
        ("[::1]:9/python:3", "public"),
        ("10.255.255.1:9/python:3", "public"),
        ("169.254.169.254/latest:1", "public"),
        ("oci:/etc", "image"),
        ("/etc/passwd", "image"),
        ("../x.tar", "image"),
        ("file:///etc/passwd", "image"),
    ],
)
def test_a_base_leads_the_service_to_no_file_and_to_no_private_address(
    served: Served, remote: RemoteWorkspace, model: str, base: str, words: str
) -> None:
    body = {"name": "ssrf", "models": [model], "base": base}
    answer = httpx.post(f"{_api(served)}/images", json=body)
    if answer.status_code == 202:
        ended = remote.activities.followed(remote.activities.get(answer.json()["id"]), None)
        assert ended.state == "failed"
        assert words in (ended.cause or "")
    else:
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]
    assert str(served.local().root) not in answer.text


def test_a_dockerfile_is_for_the_operator_to_allow(
    remote: RemoteWorkspace, model: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(RegistryError, match="--allow-internal"):
        remote.images.create("built", models=[model], dockerfile=tmp_path / "Dockerfile")


def test_the_answer_to_a_new_image_is_its_activity(served: Served, model: str) -> None:
    body = {"name": "located", "models": [model], "base": "none", "proof": False}
    answer = httpx.post(f"{_api(served)}/images", json=body)
    assert answer.status_code == 202
    where = answer.headers["operation-location"]
    assert where == f"/api/v1/workspaces/default/activities/{answer.json()['id']}"
    assert httpx.get(served.url + where).json()["kind"] == "image"


def test_an_image_comes_out_as_it_does_beside_the_workspace(
    remote: RemoteWorkspace, local: Workspace, model: str, tmp_path: Path
) -> None:
    made = remote.images.create("out", models=[model], base="none", proof=False)
    ours = remote.images.export("out", tmp_path / "ours.tar")
    assert _contents(ours) == _contents(local.images.export("out", tmp_path / "theirs.tar"))
    assert remote.images.annotations("out") == local.images.annotations("out")
    assert made.digest in local.images.digests("out")


def test_a_model_and_an_image_are_fetched_to_be_served_here(
    remote: RemoteWorkspace, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote.images.create("fetched", models=[model], base="none", proof=False)
    workspace = cast(Workspace, remote)
    for target in (Target(Kind.MODEL, model), Target(Kind.IMAGE, "fetched:1")):
        with laid_out(target, workspace) as bundle:
            assert bundle.is_relative_to(tmp_path / "cache" / "inferry")
            assert (bundle / "bundle.json").exists()
        assert not bundle.exists()


def test_only_blobs_of_the_image_are_given(
    served: Served, remote: RemoteWorkspace, model: str, tmp_path: Path
) -> None:
    made = remote.images.create("own", models=[model], base="none", proof=False)
    (tmp_path / "w").write_bytes(b"of a model")
    other = remote.models.register(tmp_path / "w", name="other").files[0].digest
    url = f"{_api(served)}/images/own/blobs"
    manifest = httpx.get(f"{url}/{made.digest}")
    assert json.loads(manifest.content)["schemaVersion"] == 2
    for digest in (other, "sha256:" + "0" * 64, "x", "../../workspace.db"):
        assert httpx.get(f"{url}/{digest}").status_code == 404


def test_tags_and_deletion(remote: RemoteWorkspace, local: Workspace, model: str) -> None:
    remote.images.create("gone", models=[model], base="none", proof=False)
    assert remote.images.tag("gone", set={"a": "1"}).tags == {"a": "1"}
    local.images.hold("gone:1", "web")
    with pytest.raises(InUseError) as refused:
        remote.images.delete("gone:1")
    assert refused.value.users == ("web",)
    local.images.release("gone:1", "web")
    assert remote.images.delete("gone:1").version == 1
    assert remote.lineage.of_model(model) == local.lineage.of_model(model)


def _contents(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as opened:
        found = {}
        for member in opened:
            file = opened.extractfile(member)
            found[member.name] = b"" if file is None else file.read()
        return found
