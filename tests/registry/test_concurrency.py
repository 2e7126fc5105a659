"""Many processes at one workspace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.store_check import assert_clean, downloaded

PROCESSES = 8
REGISTRATIONS = 100

REGISTER = """
import sys
from pathlib import Path
from registry import Workspace

root, folder, worker, count = sys.argv[1:]
workspace = Workspace.open(root)
for number in range(int(count)):
    path = Path(folder) / worker / "weights.bin"
    path.write_bytes(f"{worker}-{number // 2}".encode())
    model = workspace.models.register(path, name="shared", tags={"by": f"{worker}-{number // 2}"})
    print(model.version, flush=True)
"""

PURGE = """
import sys
import time
from registry import Workspace

workspace = Workspace.open(sys.argv[1])
print("ready", flush=True)
while True:
    workspace.purge()
    time.sleep(0.05)  # else it has the write lock nearly all of the time
"""


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_eight_processes_get_every_version_once_while_purge_runs(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The bytes are those that the process of each version registered: none lost or exchanged."""
    purging = _start(PURGE, str(workspace.root))
    workers = []
    try:
        assert purging.stdout is not None
        assert purging.stdout.readline() == "ready\n"
        for number in range(PROCESSES):
            (tmp_path / str(number)).mkdir()
            arguments = (str(workspace.root), str(tmp_path), str(number), str(REGISTRATIONS))
            workers.append(_start(REGISTER, *arguments))
        said = [worker.communicate(timeout=250) for worker in workers]
        assert purging.poll() is None, "purge failed"
    finally:
        for process in (purging, *workers):
            process.kill()
            process.communicate()
    assert [worker.returncode for worker in workers] == [0] * PROCESSES, said
    versions = sorted(int(line) for output, _ in said for line in output.split())
    assert versions == list(range(1, PROCESSES * REGISTRATIONS + 1))
    models = workspace.models.list(name="shared")
    assert [model.version for model in models] == versions
    for model in models:
        assert downloaded(workspace, model.reference)["weights.bin"].decode() == model.tags["by"]
    workspace.purge()
    assert_clean(workspace)


@pytest.mark.slow
def test_images_made_by_several_processes_are_all_in_the_index(
    workspace: Workspace, tmp_path: Path
) -> None:
    script = tmp_path / "score.py"
    script.write_text("def init(): ...\ndef run(data): return data\n")
    (tmp_path / "m.bin").write_bytes(b"m")
    workspace.models.register(tmp_path / "m.bin", name="m")
    program = """
import sys
from registry import Workspace
workspace = Workspace.open(sys.argv[1])
for _ in range(5):
    workspace.images.create("shared", models=["m"], script=sys.argv[2])
    workspace.purge()
"""
    workers = [_start(program, str(workspace.root), str(script)) for _ in range(4)]
    said = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, said
    images = workspace.images.list()
    assert [image.version for image in images] == list(range(1, 21))
    for image in images:
        unpacked = workspace.images.unpack(image.reference, tmp_path / str(image.version))
        assert (unpacked / "code/score.py").read_bytes() == script.read_bytes()
    index = (workspace.root / "store/index.json").read_text()
    assert all(str(image.digest) in index for image in images)
    assert_clean(workspace)
