"""Where artifacts lie, as paths of ``mlflow-artifacts:`` and as sources of model versions: pure.

    1/0123.../artifacts/model/MLmodel      a file of a run in experiment 1
    1/models/m-0123.../artifacts/MLmodel   a file of a logged model
    registered-models/digits/3/MLmodel     a file of a version of a registered model: read only

None of them is a path of this machine: files of runs are rows of a table, and their bytes lie under
their digests. Names that would lead somebody who downloads them astray are refused all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from registry.errors import NotFoundError
from registry.names import check_name
from registry.tracking.logged_models import FOLDER, check_logged_model
from registry.tracking.words import check_folder
from runtime.mlflow_service.refusals import RefusedError, invalid

REGISTERED = "registered-models"
MAX_UNQUOTED = 8
_NUMBER = re.compile(r"[0-9]{1,18}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class RunPlace:
    """A file or folder of a run; ``experiment`` where it was said."""

    run: str
    path: str
    experiment: int | None = None


@dataclass(frozen=True, slots=True)
class LoggedPlace:
    """A file or folder of a logged model."""

    model: str
    path: str = ""
    experiment: int | None = None


@dataclass(frozen=True, slots=True)
class VersionPlace:
    """A file or folder of a version of a model, which is a number, an alias, or ``latest``."""

    name: str
    version: int | str
    path: str = ""


Place = RunPlace | LoggedPlace | VersionPlace


def parse(path: str) -> Place:
    """What a path below ``mlflow-artifacts/artifacts/`` names. Raises InvalidNameError,
    RefusedError for one that is not allowed, NotFoundError for one where nothing can be."""
    match [*check(path).split("/")]:
        case ["registered-models", name, version, *rest] if _VERSION.fullmatch(version):
            return VersionPlace(check_name(name, "model name"), int(version), "/".join(rest))
        case [number, "models", model, "artifacts", *rest] if _NUMBER.fullmatch(number):
            return LoggedPlace(check_logged_model(model), "/".join(rest), int(number))
        case [number, run, "artifacts", *rest] if _NUMBER.fullmatch(number) and _RUN.fullmatch(run):
            return RunPlace(run, own_path("/".join(rest)), int(number))
    raise NotFoundError(
        "artifacts are at EXPERIMENT_ID/RUN_ID/artifacts/PATH and"
        " EXPERIMENT_ID/models/MODEL_ID/artifacts/PATH"
    )


def parse_source(source: str) -> Place:
    """Where the files of a new version are: ``mlflow-artifacts:/...``, ``runs:/ID/PATH``,
    ``models:/MODEL_ID``, ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` of this workspace, and
    nothing else. Raises RefusedError, InvalidNameError, NotFoundError."""
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in ("mlflow-artifacts", "runs", "models"):
        raise _not_ours(source)
    if not rest.startswith("/") or rest.startswith("//"):
        raise _not_ours(source)  # another server, or none
    bare = rest[1:].removesuffix("/")
    if scheme == "mlflow-artifacts":
        return parse(bare)
    checked = check(bare)
    head, _, path = checked.partition("/")
    if scheme == "runs":
        if not _RUN.fullmatch(head):
            raise NotFoundError(f"Run with id={ascii(head)[:60]} not found")
        return RunPlace(head, own_path(path))
    if not path and "@" not in head:
        return LoggedPlace(check_logged_model(head))
    name, at, alias = head.partition("@")
    if at and not path:
        return VersionPlace(check_name(name, "model name"), check_name(alias, "alias"))
    if path.lower() != "latest" and not _VERSION.fullmatch(path):
        raise _not_ours(source)
    version = "latest" if path.lower() == "latest" else int(path)
    return VersionPlace(check_name(head, "model name"), version)


def check(path: str) -> str:
    """``path`` without a slash at its end. Raises InvalidNameError, RefusedError. A name that means
    something else once it is decoded again is refused if that is not allowed."""
    bare = check_folder(path)
    decoded = bare
    for _ in range(MAX_UNQUOTED):
        before, decoded = decoded, unquote(decoded, errors="strict") if "%" in decoded else decoded
        if before == decoded:
            break
        check_folder(decoded)
    else:
        raise invalid("Invalid path: it is encoded too often")
    if "#" in decoded:
        raise invalid("Invalid path: it has a '#'")
    return bare


def own_path(path: str) -> str:
    """``path`` in a run, if it is not in the folder that holds its logged models. Raises
    RefusedError."""
    if path == FOLDER or path.startswith(f"{FOLDER}/"):
        raise invalid(f"the folder '{FOLDER}' of a run holds its logged models; use another name")
    return path


def _not_ours(source: str) -> RefusedError:
    return invalid(
        f"Invalid model version source: {ascii(source)[:120]}. A version is made from what is in"
        " this workspace: mlflow-artifacts:/..., runs:/RUN_ID/PATH, models:/MODEL_ID,"
        " models:/NAME/VERSION or models:/NAME@ALIAS"
    )
