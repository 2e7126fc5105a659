"""Secrets of who makes an image are nowhere in it: canaries are planted, and looked for in every
byte that the workspace keeps."""

from __future__ import annotations

import base64
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InvalidSourceError
from tests.registry import onnx_files

CANARY = b"CANARY-5d21f7-not-for-anyone"
KEPT = b"this-is-code-that-is-packed"
SCRIPT = f"def init(): ...\ndef run(data): return data\n# {KEPT.decode()}\n"
PLANTED = (
    *(".env", ".env.production", ".envrc", ".git/config", ".git/objects/pack/x.pack", ".gitconfig"),
    *(".git-credentials", ".aws/credentials", ".azure/accessTokens.json", ".kube/config"),
    *(".config/gcloud/application_default_credentials.json", ".docker/config.json", ".netrc"),
    *(".ssh/config", "id_rsa", "id_ed25519", "key.pem", "TLS.KEY", "store.p12", "a.pfx", "b.jks"),
    *(".pypirc", ".npmrc", "node_modules/x/index.js", ".venv/lib/x.py", "env/pyvenv.cfg"),
    *("env/lib/settings.py", ".inferry/keys/signing.pem", ".inferry/workspace.db", ".tox/log"),
    *("__pycache__/score.cpython-311.pyc", ".ipynb_checkpoints/a.ipynb", ".terraform/x.tfstate"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a script, and a canary under every name, on top and further down."""
    folder = tmp_path / "src"
    for place in (folder, folder / "lib", folder / "lib/deep/er"):
        for path in PLANTED:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(b"SECRET=" + CANARY)
        (place / "module.py").write_bytes(KEPT)
    (folder / "score.py").write_text(SCRIPT)
    return folder


def _stored(workspace: Workspace) -> Iterator[tuple[Path, bytes]]:
    """Every file of the workspace, as it lies there and with every gzip member opened."""
    for path in workspace.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield path, data
            if data.startswith(b"\x1f\x8b"):
                yield path, _opened(data)


def _opened(data: bytes) -> bytes:
    found = b""
    while data:
        member = zlib.decompressobj(31)
        found += member.decompress(data)
        data = member.unused_data
    return found


def _holding(workspace: Workspace, secret: bytes) -> set[Path]:
    """Where a secret lies, as it is or as base64."""
    forms = (secret, base64.b64encode(secret)[:-4])
    return {path for path, data in _stored(workspace) if any(form in data for form in forms)}


def _create(workspace: Workspace, tmp_path: Path, source: Path) -> str:
    workspace.models.register(onnx_files.adder(tmp_path / "net.onnx"), name="net")
    image = workspace.images.create(
        "i", models=["net"], script=source / "score.py", source=source, base="none"
    )
    assert image.state == "succeeded"
    return image.log


def test_no_byte_of_a_secret_file_is_kept(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    log = _create(workspace, tmp_path, source)
    assert _holding(workspace, CANARY) == set()
    assert _holding(workspace, KEPT), "the search finds what is there"
    assert "by rule" in log


def test_an_ignore_file_that_asks_for_secrets_gets_none(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    (source / ".amlignore").write_text("!**\n!.env\n!*.pem\n!.git/\n!.git/**\n!lib/.env\n")
    log = _create(workspace, tmp_path, source)
    assert _holding(workspace, CANARY) == set()
    assert "by rule" in log


def test_what_an_ignore_file_names_is_not_kept(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    for path in ("passwords.txt", "lib/passwords.txt", "private/notes"):
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_bytes(CANARY)
    (source / ".amlignore").write_text("passwords.txt\n/private/\n")
    log = _create(workspace, tmp_path, source)
    assert _holding(workspace, CANARY) == set()
    assert "left out 3 by .amlignore (lib/passwords.txt, passwords.txt, private)" in log


def test_the_environment_of_the_maker_is_not_kept(
    workspace: Workspace, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "PIP_INDEX_URL", "INFERRY_TOKEN", CANARY.decode()):
        monkeypatch.setenv(name, f"https://user:{CANARY.decode()}@index.example")
    _create(workspace, tmp_path, source)
    assert _holding(workspace, CANARY) == set()


def test_the_remote_of_a_git_repository_is_not_kept(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    """Its revision is, which is read with the repository's own configuration about."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "score.py").write_text(SCRIPT)
    url = f"https://user:{CANARY.decode()}@git.example/x"
    words = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        **{"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"},
    }
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", url],
        ["add", "score.py"],
        [*words, "commit", "--quiet", "-m", CANARY.decode()],
    ):
        subprocess.run(
            ["git", "-C", str(folder), *command], env=environment, timeout=20, check=True
        )
    _create(workspace, tmp_path, folder)
    assert _holding(workspace, CANARY) == set()


def test_the_workspaces_own_key_is_in_no_blob(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    _create(workspace, tmp_path, source)
    key = workspace.root / "keys/signing.pem"
    secret = key.read_bytes().split(b"\n")[1]
    assert _holding(workspace, base64.b64decode(secret)) <= {key}
    assert _holding(workspace, secret) == {key}


def test_a_key_under_any_other_name_stops_the_image(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    (source / "lib/notes.txt").write_bytes(b"-----BEGIN PRIVATE KEY-----\n" + CANARY)
    with pytest.raises(InvalidSourceError, match=r"'lib/notes\.txt' is a private key") as caught:
        _create(workspace, tmp_path, source)
    assert CANARY.decode() not in str(caught.value)
    assert _holding(workspace, CANARY) == set()
    assert workspace.images.list() == []
