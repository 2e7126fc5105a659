"""Files of pipelines: what they mean, and what is refused with one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.deployments import ServiceSettings
from runtime.errors import BadValueError
from runtime.pipelines import (
    BadPipelineError,
    DeployStep,
    ImageStep,
    Pipeline,
    RegisterStep,
    RunConfig,
    ScriptStep,
    read_pipeline,
)
from runtime.pipelines.checks import check_surroundings, graph_of
from runtime.pipelines.reading import with_parameters
from runtime.pipelines.steps import Source

WHOLE = """
name: digits
experiment: my digits
parallel: 2
parameters: {depth: 3, target: local, note: "a b"}
steps:
  train:
    config: run.yaml
    arguments: [--depth, "${depth}", "$${HOME}", "${note}!"]
    environment: {DEPTH: "${ depth }"}
    snapshot: {max_mb: 5}
    folder: src
    inputs: {data: ./data.csv}
    retries: 2
  register: {kind: register, model: digits, files: train/model.onnx, reuse: false, tags: }
  image: {kind: image, models: [register, other:3], script: score.py, max_batch: 8, proof: false}
  deploy:
    kind: deploy
    image: image
    target: ${target}
    service: {port: 8080, rollout: {steps: [100]}}
"""


def write(folder: Path, text: str, name: str = "p.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_says_all_that_python_says(tmp_path: Path) -> None:
    write(tmp_path, "script: train.py\narguments: [no]\nmax_duration_s: 60\n", "run.yaml")
    read = read_pipeline(write(tmp_path, WHOLE), {"depth": "4"})
    train, register, image, deploy = read.steps
    assert isinstance(train, ScriptStep)
    assert train.config == RunConfig(
        "train.py",
        arguments=("--depth", "4", "${HOME}", "a b!"),
        environment={"DEPTH": "4"},
        snapshot=train.config.snapshot,
        max_duration_s=60,
    )
    assert train.config.snapshot.max_mb == 5
    assert (train.folder, train.inputs, train.retries) == ("src", {"data": "./data.csv"}, 2)
    assert isinstance(register, RegisterStep)
    assert (register.reuse, register.tags) == (False, {})
    assert image == ImageStep(
        "image", models=["register", "other:3"], script="score.py", max_batch=8, proof=False
    )
    assert isinstance(deploy, DeployStep)
    assert (deploy.target, deploy.timeout_s) == ("local", 300)
    assert isinstance(deploy.service, ServiceSettings)
    assert deploy.service.port == 8080
    assert (read.parallel, read.experiment, read.folder) == (2, "my digits", str(tmp_path))
    assert read.parameters == {"depth": "4", "target": "local", "note": "a b"}


def test_json_is_as_good(tmp_path: Path) -> None:
    text = '{"name": "p", "steps": {"a": {"script": "a.py", "retries": 1}}}'
    assert read_pipeline(write(tmp_path, text, "p.json")).steps == (
        ScriptStep("a", RunConfig("a.py"), retries=1),
    )


def test_a_filled_pipeline_is_not_filled_again(tmp_path: Path) -> None:
    text = "name: p\nsteps: {a: {script: a.py, arguments: ['$${x}']}}\n"
    read = read_pipeline(write(tmp_path, text))
    assert with_parameters(read, {}) is read
    with pytest.raises(BadPipelineError, match="give them to read_pipeline"):
        with_parameters(read, {"x": "1"})


def test_sources_are_of_steps_or_of_this_machine() -> None:
    assert Source.of("train") == Source("train", "")
    assert Source.of("train/a/b/") == Source("train", "a/b")
    assert Source.of("./train") == Source(None, "./train")
    assert Source.of("/data") == Source(None, "/data")


TRAIN = ScriptStep("train", RunConfig("train.py"))
STEP = "  a: {script: a.py}\n"
REFUSED = [
    ("", "it is empty"),
    ("- a\n", "must have keys and values"),
    ("name: p\n", "needs a steps"),
    ("steps:\n" + STEP, "needs a name"),
    ("name: p\nstep: {}\nsteps:\n" + STEP, "'step' is not known; did you mean 'steps'?"),
    ("name: p\nsteps: [a]\n", "steps must have names"),
    ("name: p\nsteps: {}\n", "it has no steps"),
    ("name: p\nsteps: {a: 3}\n", "step 'a' must have keys and values"),
    ("name: p\nsteps: {a: {}}\n", "step 'a': kind is missing; known: script, register"),
    ("name: p\nsteps: {a: {kind: skript}}\n", "'skript' is no kind"),
    ("name: p\nsteps: {a: {kind: [script]}}\n", "is no kind"),
    ("name: p\nsteps: {a: {kind: script}}\n", "step 'a': script is missing"),
    ("name: p\nsteps: {a: {script: a.py, retires: 2}}\n", "did you mean 'retries'?"),
    ("name: p\nsteps: {a: {script: a.py, argumnets: []}}\n", "did you mean 'arguments'?"),
    ("name: p\nsteps: {a: {script: a.py, snapshot: {max_mbs: 2}}}\n", "did you mean 'max_mb'?"),
    ("name: p\nsteps: {a: {script: a.py, retries: many}}\n", "step 'a': retries: "),
    ("name: p\nsteps: {a: {script: a.py, retries: -1}}\n", "retries must be 0 to 100"),
    ("name: p\nsteps: {a: {script: a.py, retries: 1e99}}\n", "step 'a': retries: "),
    ("name: p\nsteps: {a: {script: [a.py]}}\n", "step 'a': config.script: "),
    ("name: p\nsteps: {a: {script: /etc/passwd}}\n", "must be a path in the folder"),
    ("name: p\nsteps: {a: {script: ../a.py}}\n", "must be a path in the folder"),
    ("name: p\nsteps: {a: {script: a.py, name: b}}\n", "its name stands above it"),
    ("name: p\nsteps: {a: {script: a.py, config: {}}}\n", "config is the name of a file"),
    ("name: p\nsteps: {a: {script: a.py, config: no.yaml}}\n", "step 'a': config: cannot read"),
    ("name: p\nsteps:\n  a/b: {script: a.py}\n", "name 'a/b' has '/'"),
    ('name: p\nsteps:\n  "a\\nb": {script: a.py}\n', "more than one line"),
    ("name: p\nsteps:\n  '': {script: a.py}\n", "is empty"),
    ("name: p\nsteps:\n  ..: {script: a.py}\n", "name '..' has"),
    (f"name: p\nsteps:\n  {'a' * 200}: {{script: a.py}}\n", "200 characters"),
    ("name: a/b\nsteps:\n" + STEP, "the pipeline: name 'a/b'"),
    ("name: p\nsteps:\n" + STEP + STEP, "'a' is there twice"),
    ("name: p\nparallel: 0\nsteps:\n" + STEP, "parallel must be 1 to 256"),
    ("name: p\nparallel: lots\nsteps:\n" + STEP, "the pipeline: parallel: "),
    ("name: p\nsteps: {a: {script: a.py, needs: [b]}}\n", "there is no step 'b'; known: a"),
    ("name: p\nsteps: {a: {script: a.py, needs: [a]}}\n", "in a circle: a -> a"),
    ("name: p\nsteps: {a: {script: a.py, inputs: {x: b}}}\n", "input 'x': there is no step 'b'"),
    ("name: p\nsteps: {a: {script: a.py, inputs: {x/y: a}}}\n", "input 'x/y' has '/'"),
    ("name: p\nsteps: {a: {script: a.py, inputs: {x: [a]}}}\n", "step 'a': inputs"),
    ("name: p\nsteps: {a: {kind: register, files: b/x}}\n", "files: there is no step 'b'"),
    ("name: p\nsteps: {a: {kind: register}}\n", "step 'a': it missing required field 'files'"),
    ("name: p\nsteps: {a: {kind: image, models: [x y]}}\n", "model name 'x y' has ' '"),
    ("name: p\nsteps: {a: {kind: image, models: []}}\n", "an image needs models"),
    ("name: p\nsteps: {a: {kind: deploy, image: x, deployment: A}}\n", "lower-case letters"),
    ("name: p\nsteps: {a: {kind: deploy, image: x, service: {prot: 1}}}\n", "did you mean 'port'?"),
    ("name: p\nsteps: {a: {kind: deploy, image: x, service: {port: 70000}}}\n", "port must lie"),
    ("name: p\nsteps: {a: {kind: deploy, image: x, timeout_s: nan}}\n", "timeout_s must be above"),
    ("name: p\nsteps: {a: {script: a.py, arguments: ['${x}']}}\n", "there is no parameter 'x'"),
    ("name: p\nsteps: {a: {script: a.py, arguments: ['${x']}}\n", "a '${' has no '}'"),
    ("name: p\nparameters: {x: }\nsteps:\n" + STEP, "parameter 'x' has no default"),
    ("name: p\nparameters: [x]\nsteps:\n" + STEP, "parameters: values: "),
    ("name: p\nparameters: {x: {y: z}}\nsteps:\n" + STEP, "parameters: values"),
    ("name: p\nparameters: {'x y': 1}\nsteps:\n" + STEP, "parameter 'x y' has ' '"),
    ("name: &a p\nsteps: {a: {script: *a}}\n", "anchors and aliases are not taken"),
    ("name: !!python/object/apply:os.system [x]\nsteps: {}\n", "the tag"),
    ("name: p\nsteps: " + "[" * 60 + "]" * 60 + "\n", "is too deep"),
    ("name: p\nsteps: {a: {script: a.py}\n", "is no YAML"),
    ("name: p\nsteps:\n  a: {script: a.py, \x00}\n", "control character"),
    ("name: p\nsteps:\n  a: {script: \u202ea.py}\n", "control character"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_what_makes_no_sense_is_refused_with_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises((BadPipelineError, BadValueError)) as caught:
        graph_of(read_pipeline(write(tmp_path, text)))
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 400


def test_files_that_are_too_much_are_refused_at_once(tmp_path: Path) -> None:
    many = "".join(f"  s{number}: {{script: a.py}}\n" for number in range(100_000))
    large = "name: p\n# " + "x" * 10_000_000
    for text in (f"name: p\nsteps:\n{many}", large):
        with pytest.raises(BadPipelineError) as caught:
            graph_of(read_pipeline(write(tmp_path, text)))
        assert len(str(caught.value)) < 200
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(BadPipelineError, match="cannot read"):
            read_pipeline(path)
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadPipelineError, match="UTF-8"):
        read_pipeline(tmp_path / "p.yaml")


def test_a_thousand_steps_are_the_most() -> None:
    steps = [ScriptStep(f"s{number}", RunConfig("a.py")) for number in range(1001)]
    assert len(graph_of(Pipeline("p", steps[:1000])).needs) == 1000
    with pytest.raises(BadPipelineError, match="1001 steps are too many"):
        graph_of(Pipeline("p", steps))


def test_parameters_that_there_are_not_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "name: p\nparameters: {depth: 3}\nsteps:\n" + STEP)
    with pytest.raises(BadPipelineError, match="did you mean 'depth'"):
        read_pipeline(path, {"dept": "4"})
    billion = "${a}" * 5000
    text = f"name: p\nparameters: {{a: '{'y' * 5000}'}}\nsteps: {{a: {{script: '{billion}'}}}}\n"
    with pytest.raises(BadPipelineError, match="too long with its parameters"):
        read_pipeline(write(tmp_path, text))


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (Pipeline("p", [TRAIN, TRAIN]), "two steps are called 'train'"),
        (Pipeline("p", [ScriptStep("a", "a.py")]), "config must have keys"),  # type: ignore[arg-type]
        (Pipeline("p", ["train"]), "'train' is no step"),  # type: ignore[list-item]
        (Pipeline("p", "train"), "steps must be a list"),  # type: ignore[arg-type]
        (Pipeline("p", [object()]), "wrong kind"),  # type: ignore[list-item]
        (Pipeline("p", [ScriptStep(3, RunConfig("a.py"))]), "step 3"),  # type: ignore[arg-type]
        (Pipeline("p", [DeployStep("a", image="train"), TRAIN]), "no image"),
        (Pipeline("p", [ScriptStep("a", RunConfig("x.py"), inputs={"i": "b"}),
                        DeployStep("b", image="x")]), "writes no files"),
        (Pipeline("p", [ScriptStep("a", RunConfig("x.py")),
                        RegisterStep("r", files="a/../b")]), "'..'"),
    ],
)  # fmt: skip
def test_python_is_checked_too(pipeline: Pipeline, said: str) -> None:
    with pytest.raises(BadPipelineError) as caught:
        graph_of(with_parameters(pipeline, {}))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (ScriptStep("a", RunConfig("b.py")), "there is no 'b.py' in the folder; did you"),
        (ScriptStep("a", RunConfig("a.py"), folder="none"), "is no folder"),
        (ScriptStep("a", RunConfig("a.py", target="far")), "'far'"),
        (ScriptStep("a", RunConfig("a.py"), inputs={"x": "./no"}), "no file or folder './no'"),
        (RegisterStep("a", files="./no"), "files: there is no file or folder"),
        (ImageStep("a", models=["nope"]), "nor is there a step 'nope'"),
        (ImageStep("a", models=["m"], script="no.py"), "script: there is no file"),
        (ImageStep("a", models=["m"], script="a.txt"), "is no .py file"),
        (ImageStep("a", models=["m"], script="a.py", source="a.py"), "source: there is no folder"),
        (DeployStep("a", image="nope"), "nor is there a step 'nope'"),
        (DeployStep("a", image="nope", target="far"), "'far'"),
    ],
)
def test_what_is_not_there_is_said_before_anything_runs(
    tmp_path: Path, step: ScriptStep, said: str
) -> None:
    workspace = Workspace.init(tmp_path / ".inferry", base="none")
    for name in ("a.py", "a.txt"):
        (tmp_path / name).write_text("")
    workspace.models.register(tmp_path / "a.txt", name="m")
    pipeline = with_parameters(Pipeline("p", [step], folder=str(tmp_path)), {})
    graph_of(pipeline)
    with pytest.raises(BadPipelineError) as caught:
        check_surroundings(pipeline, workspace)
    assert said in str(caught.value)
    assert str(caught.value).startswith("step 'a': ")
