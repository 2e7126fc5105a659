"""A container by URL: made there of what lies here, taken out here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from registry.errors import ImageFailedError, NotFoundError, TrustError
from registry.git_revision import git_revision
from registry.trust import WorkspaceKey
from runtime.workspace_service.routes import images as routes
from tests.registry.small_containers import assert_complete, make_parts
from tests.runtime.remote.served import Served

GIT = ("-c", "user.name=t", "-c", "user.email=t@example")


def test_a_container_is_made_verified_and_pushed(served: Served, tmp_path: Path) -> None:
    parts = make_parts(tmp_path / "parts")
    local = served.local()
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "it")):
        subprocess.run(["git", "-C", parts.root, *GIT, *command], check=True)
    commit = git_revision(parts.root)
    assert commit is not None
    with served.remote() as remote:
        remote.models.register(parts.model, name="m")
        made = remote.images.create(
            "c",
            models=["m"],
            script=parts.script,
            requirements=parts.root / "requirements.txt",
            wheelhouse=parts.wheelhouse,
            base=str(parts.base),
            platform="linux/amd64",
            proof=False,
        )
        assert_complete(local, made, tmp_path / "bundle")
        assert made.details.lock is not None
        assert made.details.revision == commit

        assert remote.images.verify("c").statement == local.images.verify("c").statement
        other = WorkspaceKey.load_or_create(tmp_path / "keys").public
        with pytest.raises(TrustError):
            remote.images.verify("c", keys=[str(other)])

        host = served.url.removeprefix("http://")
        pushed = remote.images.push("c", f"{host}/team/copied:1")
        assert pushed.digest == made.digest
        assert pushed.blobs_sent > 0
        again = remote.images.push("c", f"{host}/team/copied:1")
        assert again.blobs_sent == 0

        written = remote.images.export("c", tmp_path / "layout", format="oci")
        assert (written / "index.json").is_file()
        with pytest.raises(ImageFailedError):
            remote.images.create("c", models=["m"], script=parts.script, base=str(parts.model))


def test_the_key_is_told_once_there_is_one(served: Served) -> None:
    with served.remote("team") as remote, pytest.raises(NotFoundError, match="signed nothing"):
        remote.client.ask(routes.key)
