"""A registry in a process of its own, and a client for its tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from registry import media_types

COMMAND = "from runtime.cli.registry import registry; registry(prog_name='inferry registry')"


@dataclass(frozen=True, slots=True)
class Served:
    """A registry that is ready."""

    url: str
    process: subprocess.Popen[str]
    said: list[str]

    @property
    def host(self) -> str:
        """``address:port``."""
        return self.url.partition("//")[2]

    def client(self, **options: Any) -> httpx.Client:
        """For this registry."""
        return httpx.Client(base_url=self.url, timeout=30, **options)

    def stop(self) -> int:
        """By SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@contextlib.contextmanager
def serving(workspace: Path, *options: str, before: str = "") -> Iterator[Served]:
    """``inferry registry serve`` for the block, on a port that the kernel chose; the process runs
    the Python statement ``before`` first."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{COMMAND}", "serve", "--port", "0", *options],
        env={**os.environ, "INFERRY_WORKSPACE": str(workspace)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    reader = threading.Thread(target=_read, args=(process.stdout, said))
    try:
        while "ready at" not in (said[-1] if said else ""):
            line = process.stdout.readline()
            assert line, f"the registry did not start: {said}"
            said.append(line.rstrip())
        reader.start()
        yield Served(said[-1].rpartition(" ")[2], process, said)
    finally:
        process.kill()
        process.wait()
        if reader.ident is not None:
            reader.join()
        process.stdout.close()


def _read(lines: Any, said: list[str]) -> None:
    said.extend(line.rstrip() for line in lines)


def sha256(data: bytes) -> str:
    """Its digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push_blob(client: httpx.Client, repository: str, data: bytes) -> str:
    """At once; its digest."""
    digest = sha256(data)
    answer = client.post(f"/v2/{repository}/blobs/uploads/?digest={digest}", content=data)
    assert answer.status_code == 201, answer.text
    return digest


def descriptor(data: bytes, media_type: str = media_types.LAYER) -> dict[str, Any]:
    """Of a blob."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


def image_manifest(config: bytes, layers: list[bytes], **more: Any) -> bytes:
    """An OCI image manifest."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": descriptor(config, media_types.CONFIG),
        "layers": [descriptor(layer) for layer in layers],
        **more,
    }
    return json.dumps(document).encode()


def push_image(
    client: httpx.Client,
    repository: str,
    tag: str,
    layers: list[bytes],
    config: bytes = b"{}",
    **more: Any,
) -> str:
    """Blobs, then manifest; its digest."""
    for blob in (config, *layers):
        push_blob(client, repository, blob)
    answer = put_manifest(client, repository, tag, image_manifest(config, layers, **more))
    assert answer.status_code == 201, answer.text
    return answer.headers["Docker-Content-Digest"]


def put_manifest(
    client: httpx.Client,
    repository: str,
    reference: str,
    data: bytes,
    media_type: str = media_types.MANIFEST,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """PUT it."""
    return client.put(
        f"/v2/{repository}/manifests/{reference}",
        content=data,
        headers={"Content-Type": media_type, **(headers or {})},
    )


def code(answer: httpx.Response) -> str:
    """The error code in the body; every error has one, and says nothing of this machine."""
    (error,) = answer.json()["errors"]
    assert set(error) <= {"code", "message", "detail"}
    for secret in ("Traceback", "/tmp", "SELECT", "workspace.db"):
        assert secret not in answer.text
    return str(error["code"])
