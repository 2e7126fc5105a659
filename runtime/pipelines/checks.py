"""What is wrong with a pipeline, said before anything runs: first what can be seen without looking
anywhere, then what its files, targets, models and images say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry import Workspace, tree
from registry.deployments.settings import check_deployment_name, check_revision, check_service
from registry.errors import NotFoundError, RegistryError
from registry.names import check_name, parse_reference
from registry.source import read_code
from registry.tracking.words import check_experiment, check_path
from runtime.errors import InferryError
from runtime.pipelines.errors import BadPipelineError
from runtime.pipelines.plan import Graph
from runtime.pipelines.scripts import snapshot_files
from runtime.pipelines.steps import (
    FILES,
    AnyStep,
    DeployStep,
    ImageStep,
    PipelineSpec,
    RegisterStep,
    ScriptStep,
    Source,
    made_name,
    needs_of,
    target_of,
)
from runtime.pipelines.words import advice, shown
from runtime.submission.opening import check_fits

MAX_STEPS = 1000
MAX_RETRIES = 100
MAX_PARALLEL = 256
DEPLOYS = ("local", "docker", "fpga", "edge")
"""Kinds of targets that run deployments."""


def graph_of(pipeline: PipelineSpec) -> Graph:
    """The order of its steps. Raises BadPipelineError for all that is wrong with what is written
    down: names, what does not exist, circles."""
    _said("the pipeline", lambda: _check_head(pipeline))
    kinds: dict[str, str] = {}
    for step in pipeline.steps:
        _said("a step", lambda step=step: check_name(step.name, "name"))  # type: ignore[misc]
        if step.name in kinds:
            raise BadPipelineError(f"two steps are called '{step.name}'")
        kinds[step.name] = step.kind
    for step in pipeline.steps:
        _said(f"step '{step.name}'", lambda step=step: _check_step(step, kinds))  # type: ignore[misc]
    names = frozenset(kinds)
    return Graph.of(
        {step.name: needs_of(step, names) for step in pipeline.steps},
        {step.name: step.retries for step in pipeline.steps},
    )


def check_surroundings(pipeline: PipelineSpec, workspace: Workspace) -> None:
    """Files, targets, and models and images of the workspace that steps name are there. Raises
    BadPipelineError."""
    names = frozenset(step.name for step in pipeline.steps)
    for step in pipeline.steps:
        _said(
            f"step '{step.name}'",
            lambda step=step: _check_around(step, names, Path(pipeline.folder), workspace),  # type: ignore[misc]
        )


def _said(where: str, check: Callable[[], object]) -> None:
    """Says where what is wrong is."""
    try:
        check()
    except (RegistryError, InferryError) as error:
        raise BadPipelineError(f"{where}: {error}") from error


def _check_head(pipeline: PipelineSpec) -> None:
    check_name(pipeline.name, "name")
    if pipeline.experiment:
        check_experiment(pipeline.experiment)
    if not pipeline.steps:
        raise BadPipelineError("it has no steps")
    if len(pipeline.steps) > MAX_STEPS:
        raise BadPipelineError(f"{len(pipeline.steps)} steps are too many; at most {MAX_STEPS}")
    if not 1 <= pipeline.parallel <= MAX_PARALLEL:
        raise BadPipelineError(f"parallel must be 1 to {MAX_PARALLEL}, not {pipeline.parallel}")


def _check_step(step: AnyStep, kinds: dict[str, str]) -> None:
    if not 0 <= step.retries <= MAX_RETRIES:
        raise BadPipelineError(f"retries must be 0 to {MAX_RETRIES}, not {step.retries}")
    for name in step.needs:
        _check_known(name, kinds, "needs")
    if isinstance(step, ScriptStep):
        step.config.check()
        for name, source in step.inputs.items():
            check_name(name, "input")
            _check_source(source, kinds, f"input '{name}'")
    elif isinstance(step, RegisterStep):
        check_name(made_name(step), "model name")
        _check_source(step.files, kinds, "files")
    elif isinstance(step, ImageStep):
        check_name(made_name(step), "image name")
        if not step.models:
            raise BadPipelineError("an image needs models")
        for ref in step.models:
            _check_reference(ref, kinds, "register", "model")
    else:
        _check_deploy(step)
        _check_reference(step.image, kinds, "image", "image")


def _check_deploy(step: DeployStep) -> None:
    check_deployment_name(made_name(step))
    if not 0 < step.timeout_s <= 1e6:
        raise BadPipelineError(f"timeout_s must be above 0, not {step.timeout_s:g}")
    if step.service is not None:
        check_service(step.service)
    if step.settings is not None:
        check_revision(step.settings, step.settings.secrets)


def _check_known(name: str, kinds: dict[str, str], what: str) -> None:
    if name not in kinds:
        said = advice(name, kinds, "there is none")
        raise BadPipelineError(f"{what}: there is no step {shown(name)}; {said}")


def _check_source(text: str, kinds: dict[str, str], what: str) -> None:
    source = Source.of(text)
    if source.step is None:
        return
    _check_known(source.step, kinds, what)
    if kinds[source.step] != "script":
        raise BadPipelineError(
            f"{what}: step '{source.step}' writes no files; only script steps do"
        )
    if source.path:
        check_path(f"outputs/{source.path}")


def _check_reference(ref: str, kinds: dict[str, str], wanted: str, what: str) -> None:
    if ref in kinds and kinds[ref] != wanted:
        raise BadPipelineError(
            f"step '{ref}' makes no {what}; name a step of kind {wanted}, or {what} NAME:VERSION of"
            " the workspace"
        )
    if ref not in kinds:
        parse_reference(ref, what)


def _check_around(step: AnyStep, names: frozenset[str], folder: Path, workspace: Workspace) -> None:
    if isinstance(step, ScriptStep | DeployStep):
        _check_target(step, workspace)
    for field in FILES[step.kind]:
        path = getattr(step, field)
        if path:
            _check_there(folder / path, field, is_folder=field == "source")
    if isinstance(step, ScriptStep):
        snapshot_files(step, folder)
        for name, text in step.inputs.items():
            _check_local(text, folder, f"input '{name}'")
    elif isinstance(step, RegisterStep):
        _check_local(step.files, folder, "files")
    elif isinstance(step, ImageStep):
        for ref in set(step.models) - names:
            _look(lambda ref=ref: workspace.models.get(ref), ref, names)  # type: ignore[misc]
        if step.script:
            read_code(folder / step.script, folder / step.source if step.source else None)
    elif step.image not in names:
        _look(lambda: workspace.images.get(step.image), step.image, names)


def _check_target(step: ScriptStep | DeployStep, workspace: Workspace) -> None:
    target = workspace.targets.get(target_of(step))
    if isinstance(step, ScriptStep):
        check_fits(step.config, target)
    elif target.kind not in DEPLOYS:
        raise BadPipelineError(
            f"the target {target.name} is of kind {target.kind}, which runs scripts but no"
            f" deployments; those run on {', '.join(DEPLOYS)}"
        )


def _look(get: Callable[[], object], ref: str, names: frozenset[str]) -> None:
    """What is neither a step nor in the workspace may be a misspelt step."""
    try:
        get()
    except NotFoundError as error:
        said = advice(ref, names, "")
        raise BadPipelineError(f"{error}; nor is there a step {shown(ref)}; {said}") from error


def _check_local(text: str, folder: Path, what: str) -> None:
    source = Source.of(text)
    if source.step is None and not (folder / source.path).exists():
        raise BadPipelineError(f"{what}: there is no file or folder '{tree.shown(source.path)}'")


def _check_there(path: Path, what: str, *, is_folder: bool) -> None:
    if not (path.is_dir() if is_folder else path.is_file()):
        kind = "folder" if is_folder else "file"
        raise BadPipelineError(f"{what}: there is no {kind} '{tree.shown(str(path))}'")
