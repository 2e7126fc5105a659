"""Finds what ``inferry serve WHAT`` means and lays it out as a folder that scoring/ serves.

    WHAT            meaning
    ./m.onnx        a path: contains a slash, ends in .onnx, or is there
    digits, d:3     a model or image of the workspace; version: the latest unless said
    digits@best     the version of a model that this alias means
    model:digits    a model, whatever else has that name
    image:digits    an image

Decides in ``choose`` (pure); ``laid_out`` does the work. Models and images are unpacked to
WORKSPACE/serving/<random>, which is locked while it is served and removed at the end. What a killed
server left behind has no lock any more, and the next one removes it. ``Latest`` does so again on
each SIGHUP.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from runtime.errors import AmbiguousTargetError, UnknownTargetError

if TYPE_CHECKING:
    from registry import Workspace


class Kind(StrEnum):
    """What a WHAT is."""

    PATH = "path"
    MODEL = "model"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Target:
    """A WHAT, understood: a path, or the reference of a model or image."""

    kind: Kind
    value: str


def explicit(what: str) -> Target | None:
    """The target of a WHAT that can mean one thing only; None when the workspace must be asked."""
    for kind in (Kind.MODEL, Kind.IMAGE):
        if what.startswith(f"{kind}:"):
            return Target(kind, what.removeprefix(f"{kind}:"))
    if "/" in what or what in (".", "..") or what.endswith(".onnx"):
        return Target(Kind.PATH, what)
    return None


def choose(what: str, *, is_path: bool, is_model: bool, is_image: bool) -> Target:
    """The one thing that ``what`` means. Raises AmbiguousTargetError and UnknownTargetError."""
    found = {
        Kind.PATH: (is_path, f"./{what}"),
        Kind.MODEL: (is_model, f"model:{what}"),
        Kind.IMAGE: (is_image, f"image:{what}"),
    }
    kinds = [kind for kind, (is_there, _form) in found.items() if is_there]
    if len(kinds) > 1:
        raise AmbiguousTargetError(what, [found[kind][1] for kind in kinds])
    if not kinds:
        raise UnknownTargetError(f"there is no file, model or image '{what}'")
    return Target(kinds[0], what)


class Latest:
    """The folder of what a target means at the moment; ``workspace()`` opens the one to ask.

    Each version is laid out once and kept until the end, however often it is asked for: an older
    one may be served for long after a newer one has failed to load."""

    def __init__(
        self, target: Target, workspace: Callable[[], contextlib.AbstractContextManager[Workspace]]
    ) -> None:
        self._target = target
        self._workspace = workspace
        self._folders: dict[str, Path] = {}
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Latest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def folder(self) -> Path:
        """Where it lies now. Raises RegistryError."""
        target = self._target
        if target.kind is Kind.PATH:
            return Path(target.value)
        with self._workspace() as workspace:
            exact = self._exact(workspace)
            if exact not in self._folders:
                place = laid_out(Target(target.kind, exact), workspace)
                self._folders[exact] = self._held.enter_context(place)
        return self._folders[exact]

    def _exact(self, workspace: Workspace) -> str:
        """With the version that is meant now."""
        is_image = self._target.kind is Kind.IMAGE
        find = workspace.images.get if is_image else workspace.models.get
        return find(self._target.value).reference


@contextlib.contextmanager
def laid_out(target: Target, workspace: Workspace) -> Iterator[Path]:
    """The bundle of a model or image in a folder of its own, for as long as the block runs."""
    with locked_folder(_parent(workspace)) as folder:
        bundle = folder / "bundle"
        if target.kind is Kind.IMAGE:
            workspace.images.unpack(target.value, bundle)
        else:
            workspace.models.bundle(target.value, bundle)
        yield bundle


def _parent(workspace: Workspace) -> Path:
    """In the workspace; that of a service has a folder of this user's instead."""
    elsewhere: Path | None = getattr(workspace, "cache_folder", None)
    return workspace.root / "serving" if elsewhere is None else elsewhere / "serving"


@contextlib.contextmanager
def locked_folder(parent: Path) -> Iterator[Path]:
    """A new folder below ``parent`` for as long as the block runs. What killed processes left there
    is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    with _lock(parent):  # so that nobody sweeps the folder between its making and its locking
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        held = contextlib.ExitStack()
        held.enter_context(_lock(folder))
    with held:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Removes the folders that no living server has locked."""
    for folder in parent.iterdir():
        with contextlib.suppress(BlockingIOError, NotADirectoryError), _lock(folder, wait=False):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """An exclusive lock on a folder, which the system drops when the process ends in any way."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)
