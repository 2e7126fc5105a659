"""Reads a pipeline's file (YAML or JSON), and puts parameters in their places.

    name: digits
    parameters: {hidden: 64}
    steps:
      train: {kind: script, script: train.py, arguments: ["${hidden}"]}
      register: {kind: register, model: digits, files: train/model.onnx}

Of a script step the keys of a run configuration stand among its own, or in the file ``config``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from registry.errors import InvalidNameError
from runtime.errors import BadValueError
from runtime.pipelines.errors import BadPipelineError
from runtime.pipelines.parameters import chosen, filled
from runtime.pipelines.shape import shaped
from runtime.pipelines.steps import (
    AnyStep,
    DeployStep,
    ImageStep,
    PipelineSpec,
    RegisterStep,
    ScriptStep,
)
from runtime.pipelines.words import advice, shown
from runtime.submission.config import RunConfig, read_pairs

KINDS: Mapping[str, type[AnyStep]] = {
    "script": ScriptStep,
    "register": RegisterStep,
    "image": ImageStep,
    "deploy": DeployStep,
}
KEYS = ("name", "experiment", "parameters", "parallel", "steps")
OWN_KEYS = ("kind", "config", *(f for f in ScriptStep.__struct_fields__ if f not in ("name",)))
CONFIG_KEYS = RunConfig.__struct_fields__
Tree = dict[str, Any]


def read_spec(path: Path | str, given: Mapping[str, str] | None = None) -> PipelineSpec:
    """The pipeline of a file, with the parameters ``given`` and its own defaults in their places.
    Its folder is the file's. Raises BadPipelineError."""
    path = Path(path)
    folder = path.resolve().parent
    try:
        tree = read_pairs(path)
    except BadValueError as error:
        raise BadPipelineError(str(error)) from error
    for key in tree:
        if key not in KEYS:
            raise BadPipelineError(f"{shown(key)} is not known; {advice(key, KEYS, '')}")
    missing = next((key for key in ("name", "steps") if key not in tree), None)
    if missing is not None:
        raise BadPipelineError(f"a pipeline needs a {missing}")
    steps = tree["steps"]
    if not isinstance(steps, dict):
        raise BadPipelineError("steps must have names, and keys and values below each")
    tree["steps"] = [_step_tree(name, step, folder) for name, step in steps.items()]
    return _made({**tree, "folder": str(folder)}, given or {})


def with_parameters(pipeline: PipelineSpec, given: Mapping[str, str]) -> PipelineSpec:
    """A pipeline that was made in Python, with its parameters in their places. Raises
    BadPipelineError, also for a value of the wrong kind."""
    if pipeline.is_filled:
        if given:
            raise BadPipelineError("its parameters have their values; give them to read_pipeline")
        return pipeline
    try:
        tree = msgspec.to_builtins(pipeline)
    except TypeError as error:
        raise BadPipelineError(f"the pipeline has a value of the wrong kind: {error}") from error
    return _made({**tree, "folder": str(Path(pipeline.folder).resolve())}, given)


def _made(tree: Tree, given: Mapping[str, str]) -> PipelineSpec:
    """``tree["steps"]`` is a list."""
    defaults = shaped({"values": tree.get("parameters", "")}, _Defaults, "parameters").values
    try:
        values = chosen(defaults, given)
    except InvalidNameError as error:
        raise BadPipelineError(str(error)) from error
    if not isinstance(tree["steps"], list | tuple):
        raise BadPipelineError("steps must be a list")
    steps = tuple(_shaped_step(step, values) for step in tree["steps"])
    rest = {k: v for k, v in tree.items() if k not in ("steps", "parameters")}
    head = shaped({**rest, "steps": [], "parameters": values}, PipelineSpec, "the pipeline")
    return msgspec.structs.replace(head, steps=steps, is_filled=True)


class _Defaults(msgspec.Struct):
    values: dict[str, str] = {}


def _shaped_step(step: Any, values: Mapping[str, str]) -> AnyStep:
    if not isinstance(step, dict) or step.get("kind") not in KINDS or "name" not in step:
        raise BadPipelineError(f"{shown(step)} is no step; take one of runtime.pipelines")
    where = f"step {shown(step['name'])}"
    kind = KINDS[step["kind"]]
    body = filled({k: v for k, v in step.items() if k != "kind"}, values, where)
    if step["name"] != body["name"]:
        raise BadPipelineError(f"{where}: a step's name cannot have a parameter in it")
    return shaped(body, kind, where)


def _step_tree(name: str, step: Any, folder: Path) -> Tree:
    where = f"step {shown(name)}"
    if not isinstance(step, dict):
        raise BadPipelineError(f"{where} must have keys and values, such as kind: script")
    is_script = ("script" in step or "config" in step) and "models" not in step
    kind = step.get("kind", "script" if is_script else None)
    if not isinstance(kind, str) or kind not in KINDS:
        said = "kind is missing" if kind is None else f"{shown(kind)} is no kind"
        raise BadPipelineError(f"{where}: {said}; known: {', '.join(KINDS)}")
    if "name" in step:
        raise BadPipelineError(f"{where}: its name stands above it; what it makes is model, image"
                               " or deployment")  # fmt: skip
    found = {**step, "name": name, "kind": kind}
    return _script_tree(found, where, folder) if kind == "script" else found


def _script_tree(step: Tree, where: str, folder: Path) -> Tree:
    """With the keys of its run configuration below ``config``."""
    config: Tree = {}
    if "config" in step:
        if not isinstance(step["config"], str):
            raise BadPipelineError(f"{where}: config is the name of a file; or say its keys here")
        try:
            config = read_pairs(folder / step["config"])
        except BadValueError as error:
            raise BadPipelineError(f"{where}: config: {error}") from error
    own = {k: v for k, v in step.items() if k in ("name", *OWN_KEYS)}
    rest = {k: v for k, v in step.items() if k not in own}
    for key in rest:
        if key not in CONFIG_KEYS:
            said = advice(key, (*OWN_KEYS, *CONFIG_KEYS), "")
            raise BadPipelineError(f"{where}: {shown(key)} is not known; {said}")
    config = {**config, **rest}
    if "script" not in config:
        raise BadPipelineError(f"{where}: script is missing")
    return {**own, "config": config}
