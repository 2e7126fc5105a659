"""Many processes make containers in one workspace, while others purge and delete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.small_containers import assert_complete, make_parts
from tests.registry.store_check import assert_clean

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BUILDERS, BUILDS = 4, 5

BUILD = """
import sys
from pathlib import Path
from registry import Workspace
from tests.registry.small_containers import SCRIPT, Parts

root, folder, worker, count = sys.argv[1:]
workspace = Workspace.open(root)
parts = Parts(Path(folder))
own = Path(folder) / worker
own.mkdir()
for number in range(int(count)):
    (own / "score.py").write_text(SCRIPT + f"# {worker} {number}\\n")
    name = "shared" if number % 2 else f"own-{worker}"
    made = parts.create(
        workspace, name, script=own / "score.py", relock=number == 2, pull=number == 3
    )
    print(f"{made.reference} {made.digest} {worker} {number}", flush=True)
"""

PURGE = """
import sys, time
from registry import Workspace
workspace = Workspace.open(sys.argv[1])
print("ready", flush=True)
while True:
    workspace.purge()
    time.sleep(0.02)  # else it has the write lock nearly all of the time
"""

DELETE = """
import sys, time
from registry import Workspace
from registry.errors import NotFoundError
workspace = Workspace.open(sys.argv[1])
print("ready", flush=True)
while True:
    for image in workspace.images.list(name="shared")[1::3]:
        workspace.images.delete(image.reference)
        print(image.reference, flush=True)
    time.sleep(0.1)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_containers_are_complete_whoever_purges_and_deletes_meanwhile(tmp_path: Path) -> None:
    """All builds succeed, no version is given twice, and each image that was not deleted is what
    its own process made."""
    parts = make_parts(tmp_path / "parts")
    workspace = parts.workspace(tmp_path / "ws")
    others = [start(PURGE, workspace.root), start(DELETE, workspace.root)]
    workers = []
    try:
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
        workers = [
            start(BUILD, workspace.root, parts, number, BUILDS) for number in range(BUILDERS)
        ]
        said = [worker.communicate(timeout=200) for worker in workers]
        assert [other.poll() for other in others] == [None, None], "purge or delete failed"
    finally:
        for process in (*others, *workers):
            process.kill()
    deleted = set(others[1].communicate()[0].split())
    others[0].communicate()
    assert [worker.returncode for worker in workers] == [0] * BUILDERS, said
    made = [line.split() for output, _ in said for line in output.splitlines()]
    references = [reference for reference, *_ in made]
    assert len(made) == len(set(references)) == BUILDERS * BUILDS
    assert len({digest for _, digest, *_ in made}) == len(made)
    assert deleted <= set(references)
    assert deleted, "nothing was deleted meanwhile: this shows less than it says"
    there = {image.reference: image for image in workspace.images.list()}
    assert set(there) == set(references) - deleted
    for reference, digest, worker, number in made:
        if reference in deleted:
            continue
        folder = tmp_path / "out" / reference.replace(":", "-")
        assert there[reference].digest == digest
        assert_complete(workspace, there[reference], folder)
        assert f"# {worker} {number}\n" in (folder / "code/score.py").read_text()
        assert workspace.images.verify(reference)
    workspace.purge()
    assert_clean(workspace)
    # Who purged was killed in the midst.
    assert {a.state for a in workspace.activities.list(kind="image")} == {"succeeded"}
    assert list((workspace.root / "wheels").rglob("*.part")) == []


def test_the_first_builds_of_a_workspace_may_be_at_the_same_time(tmp_path: Path) -> None:
    """All read the base, lock, fetch and pack the same, at once: one set of layers comes of it."""
    parts = make_parts(tmp_path / "parts")
    workspace = parts.workspace(tmp_path / "ws")
    workers = [start(BUILD, workspace.root, parts, number, 1) for number in range(BUILDERS)]
    said = [worker.communicate(timeout=200) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * BUILDERS, said
    images = workspace.images.list()
    assert len(images) == BUILDERS
    shared = {
        tuple(layer.digest for layer in image.details.layers if layer.kind != "code")
        for image in images
    }
    assert len(shared) == 1
    for image in images:
        assert_complete(workspace, image, tmp_path / "out" / image.name)
    workspace.purge()
    assert_clean(workspace)


def test_a_build_whose_layers_are_swept_under_it_is_complete(tmp_path: Path) -> None:
    """In one process, at every change of phase: what was cached is purged before it is looked for,
    and never after."""
    parts = make_parts(tmp_path / "parts")
    workspace = parts.workspace(tmp_path / "ws")
    parts.create(workspace)
    workspace.images.delete("i")  # so that nothing but the build under way protects its layers
    phases = []

    def purge(activity: object) -> None:
        phases.append(activity)
        Workspace.open(workspace.root).purge()

    made = parts.create(workspace, on_change=purge)
    assert_complete(workspace, made, tmp_path / "out")
    assert len(phases) > 2
    workspace.purge()
    assert_clean(workspace)
