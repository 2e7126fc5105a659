"""Kills runners at their commits: ``python -m tests.runtime.pipelines.killed FOLDER STRIDE``.

One process that forks, since a hundred interpreters would take a minute to start. For each STRIDEth
commit of a run it prints a line of JSON: what was finished when the runner was killed just
after it, and what there is once it was resumed (the first resume is killed too, a commit later each
time).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from registry import Workspace
from registry.database import Database
from registry.errors import NotFoundError
from runtime.pipelines import ImageStep, Pipeline, PipelineError, RegisterStep, pipeline_view
from runtime.pipelines.attempt import Runners
from runtime.pipelines.here import check_resumable, drive, prepare
from runtime.pipelines.imaging import ImageRunner
from runtime.pipelines.memory import MemoryRunner
from runtime.pipelines.reading import with_parameters
from runtime.pipelines.records import STEP
from runtime.pipelines.registering import RegisterRunner
from tests.registry.onnx_files import adder
from tests.runtime.pipelines.conftest import script

STEPS = (
    script("a", folder="code"),
    script("b", inputs={"x": "a"}, folder="code"),
    RegisterStep("m", files="a/m.onnx"),
    ImageStep("i", models=["m"], proof=False),
    script("c", "i", "b", folder="code"),
)


def runners_of(workspace: Workspace, model: bytes) -> Runners:
    memory = MemoryRunner(workspace.tracking, {"a": lambda job, own: {"m.onnx": model}})
    return {
        "script": memory,
        "register": RegisterRunner(workspace),
        "image": ImageRunner(workspace),
        "deploy": memory,
    }


def killed_after(commits: int) -> None:
    """This process, by its own hand."""
    left = [commits]
    write = Database.write

    @contextmanager
    def counted(self: Database) -> Iterator[sqlite3.Connection]:
        with write(self) as connection:
            yield connection
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Database.write = counted  # type: ignore[method-assign]


def forked(act: Callable[[], None], commits: int) -> bool:
    """Whether it was killed before it had ended."""
    child = os.fork()
    if child == 0:
        try:
            killed_after(commits)
            act()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def finished(workspace: Workspace, ref: str) -> dict[str, list[str]]:
    """Ids of finished runs, by step."""
    found: dict[str, list[str]] = {}
    for child in workspace.tracking.runs.children(ref):
        if child.status == "finished":
            found.setdefault(child.tags[STEP], []).append(child.id)
    return found


def one(folder: Path, model: bytes, commits: int) -> dict[str, Any] | None:
    """None: there was no kill, as the run has fewer commits."""
    workspace = Workspace.open(folder / ".inferry")
    pipeline = with_parameters(Pipeline("p", STEPS, folder=str(folder), parallel=2), {})

    def begin() -> None:
        drive(workspace, prepare(workspace, pipeline).id, runners=runners_of(workspace, model))

    def resume() -> None:
        drive(workspace, "p:1", runners=runners_of(workspace, model))

    if not forked(begin, commits):
        return None
    try:
        check_resumable(workspace, workspace.tracking.runs.get("p:1"))
    except (NotFoundError, PipelineError) as error:
        return {"commits": commits, "refused": str(error)}
    before = finished(workspace, "p:1")
    is_killed = forked(resume, 1 + commits // 2)
    between = finished(workspace, "p:1")
    if is_killed and workspace.tracking.runs.get("p:1").status != "finished":
        resume()
    view = pipeline_view(workspace, "p:1")
    return {
        "commits": commits,
        "refused": None,
        "before": before,
        "between": between,
        "after": finished(workspace, "p:1"),
        "status": view.status,
        "states": {step.name: step.state for step in view.steps},
        "models": [model.reference for model in workspace.models.list(name="m")],
        "images": [
            image.reference
            for image in workspace.images.list(name="i")
            if image.state == "succeeded"
        ],
        "lineage": [
            str(link) for link in workspace.lineage.of_run(view.steps[0].run or "").used_by
        ],
    }


def main(folder: Path, stride: int) -> None:
    template = folder / "template"
    (template / "code").mkdir(parents=True)
    (template / "code" / "s.py").write_text("")
    Workspace.init(template / ".inferry", base="none")
    model = adder(folder / "m.onnx").read_bytes()
    commits = 1
    while True:
        place = folder / str(commits)
        shutil.copytree(template, place)
        found = one(place, model, commits)
        shutil.rmtree(place)
        if found is None:
            return
        print(json.dumps(found), flush=True)
        commits += stride


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
