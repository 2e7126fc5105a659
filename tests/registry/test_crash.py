"""kill -9 at any moment leaves a workspace that goes on working."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.store_check import assert_clean, contents, downloaded

MIB = 1024 * 1024
KILLS_BY_TIME = 30

CHILD = """
import itertools, os, signal, sqlite3, sys
from pathlib import Path

root, folder, where, at = sys.argv[1:]
calls = itertools.count(1)

def dies(function):
    def call(*arguments, **named):
        if next(calls) == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

class Connection(sqlite3.Connection):
    def execute(self, statement, *rest):
        if statement == "COMMIT" and next(calls) == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *rest)

if where == "COMMIT":
    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **named: connect(*args, factory=Connection, **named)

from registry import Workspace

workspace = Workspace.open(root)
if where not in ("COMMIT", "time"):
    setattr(os, where, dies(getattr(os, where)))
    if where == "unlink":
        Path.unlink = dies(Path.unlink)
print("ready", flush=True)
loops = itertools.count() if where == "time" else range(1)
for number in loops:
    # Each time a part that is new, and a part that is shared with what was there before.
    part = Path(folder) / "parts" / "new.bin"
    # A repeated beginning could be a pickle that goes on and on; 255 begins none.
    data = (b"\\xff" + os.urandom(63)) * (part.stat().st_size // 64)
    part.write_bytes(data)
    workspace.models.register(Path(folder), name="big")
    workspace.images.create("boxed", models=["big"], script=Path(folder) / "score.py")
    workspace.purge()
print("done", flush=True)
"""


def _source(folder: Path, size: int) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "parts/new.bin").write_bytes(b"x" * (size // 2))
    (folder / "same.bin").write_bytes(b"y" * (size // 2))
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    return folder


def _start(workspace: Workspace, source: Path, where: str, at: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(workspace.root), str(source), where, str(at)],
        stdout=subprocess.PIPE,
        text=True,
    )


def _check(root: Path, folder: Path) -> int:
    """How many models and images there are, all of them whole, once purge has cleaned up."""
    workspace = Workspace.open(root)
    workspace.purge()
    assert_clean(workspace)
    models, images = workspace.models.list(), workspace.images.list()
    for model in models:
        files = downloaded(workspace, model.reference)
        assert set(files) == {"parts/new.bin", "same.bin", "score.py"}
        assert sum(len(data) for data in files.values()) == model.size_bytes
    for image in images:
        unpacked = workspace.images.unpack(image.reference, folder / f"image-{image.version}")
        assert contents(unpacked)["code/score.py"].startswith(b"def init")
    for image in images:  # so that the next round has little to check
        workspace.images.delete(image.reference)
    for model in models:
        workspace.models.delete(model.reference)
    workspace.purge()
    assert_clean(workspace)
    return len(models) + len(images)


def _folders(tmp_path: Path) -> Iterator[Path]:
    for number in range(1000):
        folder = tmp_path / f"round-{number}"
        folder.mkdir()
        yield folder


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_only_whole_models(workspace: Workspace, tmp_path: Path) -> None:
    source = _source(tmp_path / "source", 20 * MIB)
    chance = random.Random(20)
    found = []
    for _, folder in zip(range(KILLS_BY_TIME), _folders(tmp_path), strict=False):
        with _start(workspace, source, "time", 0) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.0, 0.8))
            child.kill()
        found.append(_check(workspace.root, folder))
    assert len(found) >= 25
    assert any(found), "no kill came after a registration: this test shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["fsync", "replace", "unlink", "COMMIT", "fchmod", "open"])
def test_a_kill_at_every_call_leaves_only_whole_models(
    workspace: Workspace, tmp_path: Path, where: str
) -> None:
    """Dies before the first call of ``where``, then before the second, until none is left."""
    source = _source(tmp_path / "source", 4096)
    kills = 0
    for at, folder in enumerate(_folders(tmp_path), start=1):
        with _start(workspace, source, where, at) as child:
            child.wait(60)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        _check(workspace.root, folder)
        kills += 1
    assert kills > 2
