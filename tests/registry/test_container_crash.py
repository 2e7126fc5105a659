"""kill -9 of a build of a container, in every phase and at any time: no half image, and the next
build makes what it would have made."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities.record import DEAD
from tests.registry.small_containers import Parts, assert_complete, make_parts
from tests.registry.store_check import assert_clean

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PHASES = ["Reading the base", "Resolving", "Downloading", "Packing", "Signing"]
KILLS_BY_TIME = 7

CHILD = """
import os, signal, sys
from pathlib import Path
from registry import Workspace
from tests.registry.small_containers import Parts

root, folder, phase, number = sys.argv[1:]
seen = []

def die(activity):
    if not activity.is_running:
        return
    if not seen or seen[-1] != (activity.phase, activity.total):
        seen.append((activity.phase, activity.total))
    if [name for name, total in seen].count(phase) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)

workspace = Workspace.open(root)
print("ready", flush=True)
Parts(Path(folder)).create(workspace, on_change=die)
"""

HALF_WHEEL = """
import os, signal, sys
from pathlib import Path
from registry import Workspace
from tests.registry.small_containers import Parts

real = os.fsync

def die(handle):
    if os.readlink(f"/proc/self/fd/{handle}").endswith(".part"):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)

os.fsync = die
Parts(Path(sys.argv[2])).create(Workspace.open(sys.argv[1]))
"""

CALLS = """
import itertools, os, signal, sys
from pathlib import Path
from registry import Workspace, image_making
from tests.registry.small_containers import Parts

root, folder, where, at = sys.argv[1:]
calls = itertools.count(1)
real = getattr(os, where)

def dies(*arguments, **named):
    if next(calls) == int(at):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(os, where, dies)
Parts(Path(folder)).create(Workspace.open(root))
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return make_parts(tmp_path_factory.mktemp("crash") / "parts")


@pytest.fixture(scope="module")
def digests(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str | None]:
    """Of versions 1 to 3 in a workspace where nothing was killed."""
    workspace = parts.workspace(tmp_path_factory.mktemp("whole") / "ws")
    return {number: parts.create(workspace).digest for number in (1, 2, 3)}


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def half_wheels(workspace: Workspace) -> list[Path]:
    return list((workspace.root / "wheels").rglob("*.part"))


def check(
    workspace: Workspace, parts: Parts, digests: dict[int, str | None], folder: Path
) -> tuple[int, list[str]]:
    """After a build was killed: how many images there were, and the states of the activities."""
    images, activities = workspace.images.list(), workspace.activities.list()
    for image in images:
        assert_complete(workspace, image, folder / f"killed-{image.version}")
    for activity in activities:
        assert (activity.state, activity.cause) in [("failed", DEAD), ("succeeded", None)]
    workspace.purge()
    assert_clean(workspace)
    made = parts.create(workspace)
    assert made.digest == digests[made.version]
    assert_complete(workspace, made, folder / "next")
    assert list((workspace.root / "wheels").rglob("*.part")) == []
    workspace.purge()
    assert_clean(workspace)
    assert workspace.activities.list()[0].state == "succeeded"
    assert list((workspace.root / "activities").glob("*.lock")) == []
    return len(images), [activity.state for activity in activities]


@pytest.mark.parametrize("phase", [*PHASES, "Packing/2"])
def test_a_kill_in_any_phase_leaves_nothing_half(
    parts: Parts, digests: dict[int, str | None], tmp_path: Path, phase: str
) -> None:
    """The packages' layer and the rest are packed one after the other."""
    workspace = parts.workspace(tmp_path / "ws")
    name, _, number = phase.partition("/")
    with start(CHILD, workspace.root, parts, name, number or 1) as child:
        child.wait(60)
    assert child.returncode == -signal.SIGKILL
    assert check(workspace, parts, digests, tmp_path) == (0, ["failed"])


def test_a_kill_while_wheels_are_written_leaves_none_half(
    parts: Parts, digests: dict[int, str | None], tmp_path: Path
) -> None:
    workspace = parts.workspace(tmp_path / "ws")
    with start(HALF_WHEEL, workspace.root, parts) as child:
        child.wait(60)
    assert child.returncode == -signal.SIGKILL
    assert list((workspace.root / "wheels").rglob("*.part"))
    assert list((workspace.root / "wheels").rglob("*.whl")) == []
    made = parts.create(workspace)  # and no purge before
    assert list((workspace.root / "wheels").rglob("*.part")) == []
    assert made.digest == digests[made.version]
    assert check(workspace, parts, digests, tmp_path)[0] == 1


def test_a_kill_at_any_time_leaves_nothing_half(
    parts: Parts, digests: dict[int, str | None], tmp_path: Path
) -> None:
    chance = random.Random(4)
    states = []
    for number in range(KILLS_BY_TIME):
        folder = tmp_path / str(number)
        workspace = parts.workspace(folder / "ws")
        with start(CHILD, workspace.root, parts, "none", 1) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with suppress(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.2, 1.8))
            child.kill()
        states += check(workspace, parts, digests, folder)[1]
        shutil.rmtree(folder)
    assert "failed" in states, "no kill came during a build: this shows nothing"


@pytest.mark.parametrize("where", ["fsync", "replace", "unlink"])
def test_a_kill_at_many_calls_leaves_nothing_half(
    parts: Parts, digests: dict[int, str | None], tmp_path: Path, where: str
) -> None:
    kills = 0
    for at in range(1, 1000, 12):
        folder = tmp_path / str(at)
        workspace = parts.workspace(folder / "ws")
        with start(CALLS, workspace.root, parts, where, at) as child:
            child.wait(60)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        check(workspace, parts, digests, folder)
        kills += 1
        shutil.rmtree(folder)
    assert kills > 1
