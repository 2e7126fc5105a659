"""Scripts of Azure Machine Learning v1, on a target as they are."""

from __future__ import annotations

from registry import Workspace
from tests.runtime.submission.conftest import Submit

SCRIPT = """
import os
from azureml.core import Run
from azureml.core.run import Run as Other, _OfflineRun
assert Other is Run
run = Run.get_context()
assert not isinstance(run, _OfflineRun) and run.experiment.name == "e"
run.log("accuracy", 0.9, "on the held-out part")
run.log_list("accuracies", [0.8, 0.9], description="x")
for x in range(3):
    run.log_row("y over x", description="x", x=x, y=x * x)
assert run.get_metrics()["y over x"] == {"x": [0, 1, 2], "y": [0, 1, 4]}
with run.child_run(name="fold") as child:
    child.log("loss", 0.1)
os.makedirs("outputs", exist_ok=True)
with open("outputs/model.txt", "w") as file:
    file.write("weights")
model = run.register_model(model_name="net", model_path="outputs/model.txt", tags={"a": "b"})
print(model.name, model.id, model.version)
run.complete()
try:
    from azureml.core import Dataset
except ImportError as error:
    print(error)
"""


def test_an_old_script_runs_unchanged(run_script: Submit, workspace: Workspace) -> None:
    run = run_script(SCRIPT)
    assert (run.status, run.metrics["accuracy"].value) == ("finished", 0.9)
    assert len(workspace.tracking.metrics.values(run.id, "y over x")) == 3
    assert [child.name for child in workspace.tracking.runs.children(run.id)] == ["fold"]
    said = workspace.tracking.log(run.id).decode()
    assert "net net:1 1" in said
    assert "of azureml.core Inferry has Run and Experiment, not Dataset" in said
    assert workspace.models.get("net").tags == {"a": "b"}
