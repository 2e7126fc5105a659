"""Every command that works on a workspace, in an order in which each has something to do. The walk
is gone twice: once by folder, once by URL.

``{m}`` and the like are files of the walk's own folder (``written``); ``$name`` was captured from
what an earlier command printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.registry.onnx_files import adder

SCRIPT = """
import pathlib
from runtime.tracking import Run
run = Run.get_context()
run.log("loss", 0.5)
run.log_list("scores", [1, 2])
pathlib.Path("outputs").mkdir(exist_ok=True)
pathlib.Path("outputs/a.txt").write_text("a")
print("done")
"""
PIPELINE = """
name: walk
steps:
  one: {script: job.py, folder: .}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """``command`` as it is typed. ``code``: how it ends. ``keep``: a name, and where in the JSON
    document its value stands. ``is_json``: whether it can answer a program."""

    command: str
    code: int = 0
    keep: tuple[str, tuple[str | int, ...]] | None = None
    is_json: bool = True

    @property
    def words(self) -> list[str]:
        """What the shell would make of it."""
        return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", self.command)]


def text(command: str, code: int = 0) -> Step:
    """One that has no JSON."""
    return Step(command, code, is_json=False)


STEPS = (
    # Models
    Step("model register {m} --name adder --tag a=b"),
    Step("model register {m} --name adder"),
    Step("model list"),
    Step("model show adder"),
    Step("model tag adder k=v --property p=q"),
    Step("model alias set adder@champion 1"),
    Step("model alias list adder"),
    Step("model alias list adder --history"),
    Step("model show adder@champion"),
    Step("model alias remove adder@champion"),
    Step("model download adder {out}/model"),
    Step("model register {m} --name gone"),
    Step("model delete gone"),
    Step("model delete gone", 1),
    # Images
    Step("image create adder --model adder --script {score} --no-proof"),
    Step("image create adder --model adder --no-proof"),
    Step("image list"),
    Step("image show adder"),
    text("image log adder"),
    text("image lock adder", 1),
    Step("image tag adder k=v"),
    Step("image verify adder"),
    Step("image export adder {out}/image.tar"),
    Step("image create gone --model adder --no-proof"),
    Step("image delete gone"),
    Step("fpga report adder", 1),
    # Activities
    Step("activity list", keep=("activity", (0, "id"))),
    Step("activity show $activity"),
    text("activity log $activity"),
    Step("activity watch $activity"),
    Step("activity cancel $activity", 1),
    Step("activity resume $activity", 1),
    Step("activity hook add https://hook.example/x --on failed", keep=("hook", ("id",))),
    Step("activity hook list"),
    Step("activity hook delete $hook"),
    # Datastores
    Step("datastore attach data --kind file --set path={data}"),
    Step("datastore list"),
    Step("datastore show data"),
    Step("datastore default data"),
    Step("datastore upload {score}"),
    Step("datastore ls"),
    Step("datastore download score.py {out}/store"),
    Step("datastore delete score.py"),
    Step("datastore default workspace"),
    Step("datastore detach data"),
    # Runs
    Step("run submit {job}/job.py --experiment e --folder {job}"),
    Step("run rerun e:1"),
    Step("experiment list"),
    Step("experiment show e"),
    Step("run list e"),
    Step("run show e:1"),
    text("run log e:1"),
    text("run value e:1 scores"),
    Step("run metrics e:1"),
    Step("run metrics e:1 loss"),
    Step("run files e:1"),
    Step("run download e:1 {out}/run"),
    Step("run snapshot files e:1"),
    Step("run snapshot download e:1 {out}/snapshot"),
    Step("run tag e:1 k=v"),
    Step("run cancel e:1", 1),
    Step("run delete e:1"),
    Step("run restore e:1"),
    Step("experiment delete e"),
    Step("experiment restore e"),
    # Pipelines
    Step("pipeline run {job}/pipeline.yaml"),
    Step("pipeline list"),
    Step("pipeline show walk:1"),
    Step("pipeline cancel walk:1", 1),
    Step("pipeline resume walk:1", 1),
    Step("pipeline run {job}/pipeline.yaml --detach"),
    # Targets and deployments, of which nobody takes care
    Step("target attach there --kind ssh --no-check --set host=h --set user=u"
         " --set 'host_key=ssh-ed25519 AAAA'"),
    Step("target list"),
    Step("target show there"),
    Step("target detach there"),
    Step("deploy web --image adder:1 --no-wait"),
    Step("deployment list"),
    Step("deployment show web"),
    Step("deployment update web --image adder:2"),
    Step("deployment scale web 2"),
    Step("deployment traffic web 1=50 2=50"),
    Step("deployment rollback web 1"),
    Step("deployment traffic web 1=100"),
    Step("deployment revision drop web 2"),
    Step("deployment secret set web KEY {score}"),
    Step("deployment secret remove web KEY"),
    Step("deployment keys web"),
    Step("deployment ledger web"),
    text("deployment logs web"),
    Step("deployment delete web"),
    # The workspace
    Step("registry formats --allow pickle"),
    Step("registry formats"),
    Step("purge --dry-run"),
    Step("purge"),
    Step("registry token create ada --role owner", keep=("token", ("token",))),
    Step("registry token list"),
    Step("registry token revoke ada"),
)  # fmt: skip


def written(folder: Path) -> dict[str, str]:
    """The files that the steps name, and places to write to."""
    (folder / "job").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "out").mkdir()
    (folder / "job/job.py").write_text(SCRIPT)
    (folder / "job/pipeline.yaml").write_text(PIPELINE)
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    return {
        "m": str(adder(folder / "m.onnx")),
        "score": str(folder / "score.py"),
        "job": str(folder / "job"),
        "data": str(folder / "data"),
        "out": str(folder / "out"),
    }


def shape(value: object) -> object:
    """What kind of a JSON document it is: keys and types. Numbers are one type, and a list is of
    what its first item is. Pure."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | float) else type(value).__name__
