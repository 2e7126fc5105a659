"""Image steps: models and a script become an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry import Workspace, tree
from registry.activities import Activity
from registry.errors import ImmutableError, NotFoundError
from registry.records import Image
from registry.source import read_code
from registry.tracking import RunRecord
from runtime.pipelines.keys import files_digest
from runtime.pipelines.own_run import OwnRun, own_run
from runtime.pipelines.port import Done, Job
from runtime.pipelines.records import DIGEST, MADE, STEP
from runtime.pipelines.steps import FILES, ImageStep, made_name


class ImageRunner:
    """In one workspace. ``only_public``: a base is at a public address."""

    def __init__(self, workspace: Workspace, *, only_public: bool = False) -> None:
        self._workspace = workspace
        self._only_public = only_public

    def facts(self, job: Job) -> Any:
        """The code, the other files, the models that no step made, and what the workspace's images
        start from."""
        step = _step(job)
        paths = _paths(step, job.folder)
        files = {
            field: files_digest(tree.walk(path))
            for field, path in paths.items()
            if field not in ("script", "source") and path is not None
        }
        code = None
        if paths["script"] is not None:
            code = files_digest(read_code(paths["script"], paths["source"]).files)
        models = [self._workspace.models.get(ref) for ref in step.models if ref not in job.before]
        return {
            "files": files,
            "code": code,
            "models": [[model.reference, model.digest] for model in models],
            "base": step.base or self._workspace.settings.base,
        }

    def is_there(self, done: Done) -> bool:
        """The version, of this digest."""
        try:
            found = self._workspace.images.get(done.made)
        except NotFoundError:
            return False
        return found.state == "succeeded" and found.digest == done.digest

    def run(self, job: Job) -> RunRecord:
        """An image that an earlier try made is taken for it."""
        step = _step(job)

        def work(own: OwnRun) -> Mapping[str, str]:
            image = self._made_before(made_name(step), job.mark)
            if image is None:
                models = [job.before[ref].made if ref in job.before else ref for ref in step.models]
                image = self._create(step, job, models, own)
                own.say(f"created {image.reference}, {image.digest}")
            else:
                own.say(f"{image.reference} was made by a try that was killed after it")
            return {MADE: image.reference, DIGEST: image.digest or ""}

        return own_run(self._workspace.tracking, job, work)

    def _made_before(self, name: str, mark: str) -> Image | None:
        found = self._workspace.images.list(name=name, tags=[f"{STEP}={mark}"])
        return next((image for image in found if image.state == "succeeded"), None)

    def _create(self, step: ImageStep, job: Job, models: Sequence[str], own: OwnRun) -> Image:
        phase = ""

        def on_change(activity: Activity) -> None:
            nonlocal phase
            if activity.phase != phase:
                phase = activity.phase
                own.say(phase)
            if activity.is_running and own.is_cancelled():
                with suppress(NotFoundError, ImmutableError):
                    self._workspace.activities.cancel(activity.id)

        paths = _paths(step, job.folder)
        return self._workspace.images.create(
            made_name(step),
            models=models,
            tags={**step.tags, STEP: job.mark},
            description=step.description,
            max_batch=step.max_batch,
            base=step.base or None,
            platform=step.platform or None,
            proof=step.proof,
            script=paths["script"],
            source=paths["source"],
            requirements=paths["requirements"],
            conda=paths["conda"],
            sample=paths["sample"],
            golden=paths["golden"],
            only_public=self._only_public,
            on_change=on_change,
        )


def _paths(step: ImageStep, folder: Path) -> dict[str, Path | None]:
    return {
        field: folder / getattr(step, field) if getattr(step, field) else None
        for field in FILES["image"]
    }


def _step(job: Job) -> ImageStep:
    assert isinstance(job.step, ImageStep)
    return job.step
