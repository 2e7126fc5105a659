"""A pipeline and its steps: plain values, which YAML and Python both make.

    train = ScriptStep("train", RunConfig("train.py"), folder="digits")
    register = RegisterStep("register", model="digits", files=train.output("model.onnx"))
    image = ImageStep("image", models=["register"], script="score.py")
    deploy = DeployStep("deploy", image="image")
    Pipeline("digits", [train, register, image, deploy]).run(workspace)

A *source* says what a step gets: ``train`` (all that the step wrote into outputs/), ``train/a/b``
(a file or folder of it), or a path that begins with ``./``, ``../`` or ``/`` (a file or folder of
this machine). ``${name}`` in any text is a parameter, ``$${`` is ``${`` itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from registry.deployments import RevisionSettings, ServiceSettings
from runtime.submission.config import RunConfig

PARALLEL = 4
Kind = Literal["script", "register", "image", "deploy"]


@dataclass(frozen=True, slots=True)
class Source:
    """What a step gets: of another step (``path`` is below its outputs/, "" is all of them), or of
    this machine, where ``step`` is None."""

    step: str | None
    path: str

    @classmethod
    def of(cls, text: str) -> Source:
        """Read ``text``; see above."""
        if text.startswith(("./", "../", "/")) or text in (".", ".."):
            return cls(None, text)
        step, _, path = text.partition("/")
        return cls(step, path.strip("/"))


class Named(msgspec.Struct, frozen=True):
    """What has a name in its pipeline."""

    name: str


class Step(Named, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What all kinds have. ``needs``: steps to wait for, beside those that it gets something from.
    ``retries``: how often it may be tried again. ``reuse``: whether an earlier step that did the
    same is taken instead."""

    needs: Sequence[str] = ()
    retries: int = 0
    reuse: bool = True

    @property
    def kind(self) -> Kind:
        """As the file says it."""
        kind: Kind = self.__struct_config__.tag  # type: ignore[assignment]
        return kind


class ScriptStep(Step, frozen=True, forbid_unknown_fields=True, tag="script"):
    """Runs a script as a run of its own, on ``config.target``. ``folder``: what is copied there.
    ``inputs``: sources by the name under which the script finds them: in inputs/NAME/, and in the
    folder that $INFERRY_INPUT_<NAME> says."""

    config: RunConfig
    folder: str = "."
    inputs: Mapping[str, str] = {}

    def output(self, path: str = "") -> str:
        """The source for what the script writes to ``outputs/path``."""
        return f"{self.name}/{path}" if path else self.name


class RegisterStep(Step, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="register"):
    """Registers what ``files`` says as the next version of ``model`` (default: the step's name),
    which comes from the run that wrote it. ``allow_pickle``: files that can run code when they are
    opened are taken, and the model says so."""

    files: str
    model: str = ""
    tags: Mapping[str, str] = {}
    properties: Mapping[str, str] = {}
    description: str = ""
    allow_pickle: bool = False


class ImageStep(Step, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="image"):
    """Packages models as ``image`` (default: the step's name). ``models``: register steps, or
    models of the workspace as NAME[:VERSION]. The rest is as of inferry image create."""

    models: Sequence[str]
    image: str = ""
    script: str = ""
    source: str = ""
    requirements: str = ""
    conda: str = ""
    base: str = ""
    platform: str = ""
    sample: str = ""
    golden: str = ""
    tags: Mapping[str, str] = {}
    description: str = ""
    max_batch: int | None = None
    proof: bool = True


class DeployStep(Step, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="deploy"):
    """Deploys an image as ``deployment`` (default: the step's name), or brings the one that is
    there to it, and waits until it runs. ``image``: an image step, or an image of the workspace as
    NAME[:VERSION]. ``service`` and ``settings``: None leaves those of one that is there."""

    image: str
    deployment: str = ""
    target: str = "local"
    service: ServiceSettings | None = None
    settings: RevisionSettings | None = None
    timeout_s: float = 300.0


AnyStep = ScriptStep | RegisterStep | ImageStep | DeployStep
FILES: Mapping[Kind, tuple[str, ...]] = {
    "script": (),
    "register": (),
    "image": ("script", "source", "requirements", "conda", "sample", "golden"),
    "deploy": (),
}
"""Fields that are paths of this machine."""


class PipelineSpec(Named, frozen=True, forbid_unknown_fields=True):
    """Steps that make one thing out of another. ``parameters`` have defaults; one whose default is
    "" must be given. ``experiment``: what its runs belong to (default: the name). ``folder``: what
    paths are relative to. ``parallel``: how many steps run at once. ``is_filled``: the parameters
    are in their places already."""

    steps: Sequence[AnyStep]
    parameters: Mapping[str, str] = {}
    experiment: str = ""
    folder: str = "."
    parallel: int = PARALLEL
    is_filled: bool = False

    def __post_init__(self) -> None:
        """A list is as good; it cannot change the pipeline later."""
        if isinstance(self.steps, list):
            msgspec.structs.force_setattr(self, "steps", tuple(self.steps))


def needs_of(step: AnyStep, names: frozenset[str]) -> tuple[str, ...]:
    """The steps that a step needs. ``names``: those that there are; what an image or a deployment
    names otherwise is the workspace's."""
    found = [*step.needs]
    if isinstance(step, ScriptStep):
        found += [s.step for s in map(Source.of, step.inputs.values()) if s.step is not None]
    elif isinstance(step, RegisterStep):
        source = Source.of(step.files)
        found += [] if source.step is None else [source.step]
    elif isinstance(step, ImageStep):
        found += [ref for ref in step.models if ref in names]
    else:
        found += [step.image] if step.image in names else []
    return tuple(dict.fromkeys(found))


def target_of(step: AnyStep) -> str:
    """Where it runs; "" where that is here in any case."""
    if isinstance(step, ScriptStep):
        return step.config.target
    return step.target if isinstance(step, DeployStep) else ""


def made_name(step: AnyStep) -> str:
    """What the thing that it makes is called; "" of a script."""
    if isinstance(step, RegisterStep):
        return step.model or step.name
    if isinstance(step, ImageStep):
        return step.image or step.name
    return (step.deployment or step.name) if isinstance(step, DeployStep) else ""


def steps_by_name(steps: Sequence[AnyStep]) -> dict[str, AnyStep]:
    """Names are there once."""
    return {step.name: step for step in steps}
