"""The workers of test_purge_in_a_loop.py, each a process of its own:

    python -m tests.runtime.registry_service.purge_loop push|pull|make|purge URL WORKSPACE SECONDS

A worker works until its time is over and prints what it did, as JSON; a broken promise is an
assertion that ends it.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from registry import Workspace
from tests.runtime.registry_service.served import image_manifest, put_manifest, sha256

Done = dict[str, int]


def push(client: httpx.Client, _workspace: Workspace, done: Done) -> None:
    """As docker does: look for each blob, upload what is not there, then the manifest. What was
    answered 201 is complete, however old its blobs are; every other push is deleted again."""
    repeated = [bytes([number]) * 50_000 for number in range(3)]
    layers = [*random.sample(repeated, 2), os.urandom(20_000)]
    repository = f"pushed/{random.randrange(3)}"
    for blob in (b"{}", *layers):
        _offer(client, repository, blob, done)
    tag = f"t{time.monotonic_ns()}-{os.getpid()}"
    answer = put_manifest(client, repository, tag, image_manifest(b"{}", layers))
    assert answer.status_code == 201, answer.text
    done["pushed"] = done.get("pushed", 0) + 1
    digest = answer.headers["Docker-Content-Digest"]
    _pull(client, repository, digest)
    if random.random() < 0.5:
        gone = client.delete(f"/v2/{repository}/manifests/{digest}")
        assert gone.status_code == 202, gone.text


def pull(client: httpx.Client, _workspace: Workspace, done: Done) -> None:
    """A tag may be gone; whoever gets the manifest gets all that it names."""
    found = client.get("/v2/_catalog").json()["repositories"]
    if not found:
        return
    repository = random.choice(found)
    tags = client.get(f"/v2/{repository}/tags/list")
    for tag in random.sample(tags.json().get("tags", []), k=1) if tags.is_success else []:
        done["pulled"] = done.get("pulled", 0) + _pull(client, repository, tag)


def make(_client: httpx.Client, workspace: Workspace, done: Done) -> None:
    """Images of equal content, of which only the last stays."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "score.py")
        script.write_text("def init(): ...\ndef run(data): return data\n")
        image = workspace.images.create("digits", models=["m"], script=script)
    if image.version > 1:
        workspace.images.delete(f"digits:{image.version - 1}")
    done["made"] = done.get("made", 0) + 1


def purge(_client: httpx.Client, workspace: Workspace, done: Done) -> None:
    """All the time."""
    done["purged"] = done.get("purged", 0) + workspace.purge().blobs


def _offer(client: httpx.Client, repository: str, blob: bytes, done: Done) -> None:
    digest = sha256(blob)
    if client.head(f"/v2/{repository}/blobs/{digest}").status_code == 200:
        done["there"] = done.get("there", 0) + 1
        return
    source = f"pushed/{random.randrange(3)}"
    url = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"
    begun = client.post(url)
    if begun.status_code == 201:
        done["mounted"] = done.get("mounted", 0) + 1
        return
    assert begun.status_code == 202, begun.text
    half = len(blob) // 2
    sent = client.patch(begun.headers["Location"], content=blob[:half])
    assert sent.status_code == 202, sent.text
    ended = client.put(f"{sent.headers['Location']}?digest={digest}", content=blob[half:])
    assert ended.status_code == 201, ended.text


def _pull(client: httpx.Client, repository: str, reference: str) -> bool:
    manifest = client.get(f"/v2/{repository}/manifests/{reference}")
    if manifest.status_code == 404:
        return False
    assert manifest.status_code == 200, manifest.text
    document = manifest.json()
    for item in (document["config"], *document["layers"]):
        blob = client.get(f"/v2/{repository}/blobs/{item['digest']}")
        assert blob.status_code == 200, (repository, reference, blob.text)
        assert sha256(blob.content) == item["digest"]
    return True


WORK: dict[str, Callable[[httpx.Client, Workspace, Done], None]] = {
    "push": push,
    "pull": pull,
    "make": make,
    "purge": purge,
}


def main(kind: str, url: str, root: str, seconds: str) -> None:
    """Work."""
    workspace = Workspace.open(root)
    done: Done = {}
    with httpx.Client(base_url=url, timeout=60) as client:
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            WORK[kind](client, workspace, done)
    print(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
