"""What the measurements of the part ``images`` share: the base, the model, one workspace whose
wheels the others take over."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from benchmarks.images.workspaces import SCORE, Inputs, Workspace, debian_base
from benchmarks.subjects import Subject, digits

SCRIPTED, PLAIN = "digits", "digits-model"


class Study:
    """One run of the part. Everything it makes lies in ``scratch``."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    @functools.cached_property
    def base(self) -> Path:
        """The root file system that images start from. Raises NotMeasuredError."""
        return debian_base()

    @functools.cached_property
    def digits(self) -> Subject:
        """The model of examples/digits, trained now."""
        return digits(self.scratch)

    @functools.cached_property
    def workspace(self) -> Workspace:
        """One with two images of the digits model, with its script (SCRIPTED) and without
        (PLAIN); it downloads the wheels. Raises NotMeasuredError."""
        made = self.digits_workspace("seed", wheels=None)
        made.create(SCRIPTED, Inputs("digits", SCORE))
        made.create(PLAIN, Inputs("digits"))
        return made

    def digits_workspace(self, folder: str, *, wheels: Workspace | None) -> Workspace:
        """A new one in which only the model is registered."""
        made = Workspace.new(self.scratch / folder, self.base, wheels=wheels)
        made.register("digits", self.digits.model)
        return made

    def forget(self, workspace: Workspace) -> None:
        """Frees its space."""
        shutil.rmtree(workspace.root)
