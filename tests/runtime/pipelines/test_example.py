"""The digits example from training to a URL that scores, and what the guide shows."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from registry import Workspace
from runtime.pipelines import Pipeline, pipeline_view, read_pipeline
from runtime.pipelines.checks import check_surroundings, graph_of
from runtime.pipelines.reading import with_parameters
from tests.engine import program
from tests.runtime.conftest import Cli
from tests.runtime.server import ROOT

EXAMPLE = ROOT / "examples/pipeline/pipeline.yaml"
GUIDE = (ROOT / "docs/guides/pipelines.md").read_text()


@pytest.mark.slow
def test_digits_go_from_training_to_a_url_that_scores(cli: Cli, tmp_path: Path) -> None:
    program("haproxy")
    workspace = Workspace.open(tmp_path / ".inferry")
    try:
        done = cli("pipeline", "run", str(EXAMPLE))
        assert done.code == 0, done.stderr
        view = pipeline_view(workspace, "digits:1")
        assert view.count("finished") == 5
        train = view.step("train")
        held_out = json.loads(
            workspace.tracking.files.read(train.run_id or "", "outputs/held_out.json")
        )
        body = json.dumps({"data": held_out["pixels"][:50]}).encode()
        request = urllib.request.Request(
            view.step("deploy").url, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.loads(answer.read())["predictions"]
        right = sum(a == b for a, b in zip(said, held_out["labels"][:50], strict=True))
        assert right >= 45
        lines = workspace.lineage.of_run(train.run or "")
        assert [str(link) for link in lines.used_by] == [
            "model digits:1",
            "image digits:1",
            "deployment digits",
        ]
        assert workspace.tracking.runs.get(view.step("check").run or "").metrics["accuracy"]

        strict = cli("pipeline", "run", str(EXAMPLE), "--set", "accuracy=1.0")
        assert strict.code == 1
        assert "the model is not good enough" in strict.stderr
        states = [step.state for step in pipeline_view(workspace, "digits:7").steps]
        assert states == ["reused", "failed", "skipped", "skipped", "skipped"]

        again = cli("pipeline", "run", str(EXAMPLE), "--output", "json")
        record = json.loads(again.stdout)
        assert [step["state"] for step in record["steps"]] == ["reused"] * 4 + ["finished"]
        assert record["steps"][4]["url"] == view.step("deploy").url
    finally:
        cli("deployment", "delete", "digits", "--wait")


def test_the_guide_shows_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.M | re.S)
    short = tmp_path / "pipeline.yaml"
    short.write_text(text)
    example = graph_of(read_pipeline(EXAMPLE))
    assert graph_of(read_pipeline(short)).needs == example.needs

    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)
    made: dict[str, object] = {}
    before, _, rest = code.partition("view = ")
    assert rest.startswith('Pipeline("digits", steps, parameters={"target": "local"}).run(')
    exec(f"{before}\npipeline = Pipeline('digits', steps, parameters={{'target': 'local'}})", made)
    pipeline = made["pipeline"]
    assert isinstance(pipeline, Pipeline)
    filled = with_parameters(pipeline, {})
    assert list(graph_of(filled).needs) == ["train", "register", "image", "deploy"]
    check_surroundings(filled, Workspace.init(tmp_path / ".inferry", base="none"))
