"""What came from what: run -> model -> image -> deployment, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InUseError, NotFoundError
from registry.lineage import Lines
from tests.registry.onnx_files import adder


def words(lines: Lines) -> tuple[list[str], list[str]]:
    return [str(link) for link in lines.came_from], [str(link) for link in lines.used_by]


def test_every_thing_names_all_it_came_from_and_all_that_uses_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    run = workspace.tracking.runs.create("train")
    for constant in (1.0, 2.0):
        path = adder(tmp_path / "m.onnx", constant=constant)
        workspace.models.register(path, name="adder", run=run.id)
    workspace.models.register(tmp_path / "m.onnx", name="other")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    models, script = ["adder:1", "other:1"], tmp_path / "score.py"
    workspace.images.create("web", models=models, script=script, proof=False)
    workspace.deployments.create("live", "web:1", actor="ada")
    lineage = workspace.lineage
    assert words(lineage.of_run("train:1")) == (
        [],
        ["model adder:1", "model adder:2", "image web:1", "deployment live"],
    )
    assert words(lineage.of_model("adder:1")) == (
        ["run train:1"],
        ["image web:1", "deployment live"],
    )
    assert words(lineage.of_model("adder")) == (["run train:1"], [])
    assert words(lineage.of_model("other")) == ([], ["image web:1", "deployment live"])
    assert words(lineage.of_image("web")) == (
        ["model adder:1", "model other:1", "run train:1"],
        ["deployment live"],
    )
    assert words(lineage.of_deployment("live")) == (
        ["image web:1", "model adder:1", "model other:1", "run train:1"],
        [],
    )
    with pytest.raises(InUseError, match="run train:1 is used by model adder:1, model adder:2"):
        workspace.tracking.runs.remove(run.id)


def test_what_is_not_there_is_not_found(workspace: Workspace) -> None:
    for look in (workspace.lineage.of_run, workspace.lineage.of_model, workspace.lineage.of_image):
        with pytest.raises(NotFoundError):
            look("nothing:1")
