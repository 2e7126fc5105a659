"""A purge during pushes and pulls loses nothing, and afterwards leaves nothing behind."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from tests.registry.store_check import assert_no_leftovers, blob_path, blobs
from tests.runtime.registry_service.served import serving, sha256

HOLD_S = 4
SHORT_HOLD = f"import registry.distribution.held_blobs as held; held.HOLD_S = {HOLD_S}"
SECONDS = 8


@pytest.mark.slow
def test_nothing_is_lost_while_all_happens_at_once(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    (tmp_path / "m.bin").write_bytes(b"weights" * 1000)
    workspace.models.register(tmp_path / "m.bin", name="m")
    with (
        serving(workspace.root, before=SHORT_HOLD) as one,
        serving(workspace.root, before=SHORT_HOLD) as two,
    ):
        kinds = [("push", one), ("push", two), ("pull", one), ("pull", two)]
        kinds += [("make", one), ("purge", one)]
        workers = [_worker(kind, served.url, workspace.root) for kind, served in kinds]
        said = [worker.communicate(timeout=60) for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(kinds), said
        done: dict[str, int] = {}
        for out, _ in said:
            for key, count in json.loads(out).items():
                done[key] = done.get(key, 0) + count
        # Otherwise nothing was shown.
        assert all(done.get(key) for key in ("pushed", "pulled", "made", "there", "purged")), done
        with one.client() as client:
            _let_holds_expire(workspace)
            wanted = workspace.purge(dry_run=True)
            assert workspace.purge() == wanted
            assert blobs(workspace) == _reachable(client, workspace)
    for digest in blobs(workspace):
        assert sha256(blob_path(workspace, digest).read_bytes()) == digest
    assert_no_leftovers(workspace)


def _worker(kind: str, url: str, root: Path) -> subprocess.Popen[str]:
    module = "tests.runtime.registry_service.purge_loop"
    return subprocess.Popen(
        [sys.executable, "-m", module, kind, url, str(root), str(SECONDS)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _let_holds_expire(workspace: Workspace) -> None:
    connection = sqlite3.connect(workspace.root / "workspace.db")
    with connection:
        connection.execute("UPDATE held_blobs SET expires_at = 0")
    connection.close()


def _reachable(client: httpx.Client, workspace: Workspace) -> set[str]:
    """What a client finds by names, and the models."""
    found: set[str] = set()
    for repository in client.get("/v2/_catalog").json()["repositories"]:
        for tag in client.get(f"/v2/{repository}/tags/list").json()["tags"]:
            answer = client.get(f"/v2/{repository}/manifests/{tag}")
            digest = answer.headers["Docker-Content-Digest"]
            found |= _named(digest, answer.json())
            listed = client.get(f"/v2/{repository}/referrers/{digest}").json()["manifests"]
            for item in listed:
                path = f"/v2/{repository}/manifests/{item['digest']}"
                found |= _named(item["digest"], client.get(path).json())
    for model in workspace.models.list():
        document = json.loads(blob_path(workspace, model.digest).read_bytes())
        found |= _named(model.digest, document)
    return found


def _named(digest: str, document: Any) -> set[str]:
    return {digest, document["config"]["digest"], *(la["digest"] for la in document["layers"])}
