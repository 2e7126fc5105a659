"""What a service has answered is kept, however it ends; and large files pass through in pieces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

from registry import Workspace
from registry.errors import RegistryError
from runtime.errors import InferryError
from runtime.remote import RemoteWorkspace, parse_place
from runtime.remote.client import ServiceClient
from tests.runtime.remote.served import DEADLINE_S, Served

WRITERS = 4
ANSWERED = 15
"""By each, before the service is killed."""
LARGE_BYTES = 64_000_000


def test_what_was_answered_before_kill_9_is_there(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    workspace = Workspace.init(root, base="none")
    (tmp_path / "w").write_bytes(b"w")
    workspace.models.register(tmp_path / "w", name="m")
    command = [sys.executable, "-m", "runtime.cli.main", "registry", "serve"]
    with subprocess.Popen(
        [*command, "-w", str(root), "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            place = parse_place(_url(service))
            answered: list[list[str]] = [[] for _ in range(WRITERS)]
            enough = threading.Barrier(WRITERS + 1, timeout=DEADLINE_S)
            threads = [
                threading.Thread(target=_write, args=(str(place), tmp_path, number, done, enough))
                for number, done in enumerate(answered)
            ]
            for thread in threads:
                thread.start()
            enough.wait()  # all are in the midst of it
        finally:
            service.kill()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
    again = Workspace.open(root)
    tags = again.models.get("m:1").tags
    made = {each.name for each in again.models.list()}
    for done in answered:
        assert len(done) >= ANSWERED
        for name in done:
            assert name in (made if name.startswith("made") else tags)
    for model in again.models.list():
        again.models.download(model.reference, tmp_path / "out" / model.name)


def _url(service: subprocess.Popen[str]) -> str:
    assert service.stdout is not None
    for line in service.stdout:
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise AssertionError("the service did not start")


def _write(url: str, folder: Path, number: int, done: list[str], enough: threading.Barrier) -> None:
    """Writes until the service is gone, and notes what was answered."""
    client = ServiceClient(parse_place(url), wait=lambda _: None)
    with RemoteWorkspace(url, client=client) as remote:
        while True:
            name = f"w{number}-{len(done)}" if len(done) % 3 else f"made{number}-{len(done)}"
            try:
                if name.startswith("made"):
                    file = folder / name
                    file.write_bytes(name.encode())
                    remote.models.register(file, name=name)
                else:
                    remote.models.tag("m:1", set={name: "1"})
            except (InferryError, RegistryError):
                return
            done.append(name)
            if len(done) == ANSWERED:
                enough.wait()


def test_a_large_model_passes_through_in_pieces(served: Served, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.write(os.urandom(1000))
        file.truncate(LARGE_BYTES)
    with served.remote() as remote:
        remote.models.list()  # what is loaded once is loaded
        tracemalloc.start()
        try:
            made = remote.models.register(tmp_path / "large", name="large")
            for _ in remote.models.chunks("large", "large")[1]:
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert made.size_bytes == LARGE_BYTES
    assert peak < 24_000_000
    served.local().models.delete("large:1")
    served.local().purge()
