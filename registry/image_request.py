"""What an image is to be made of: read and checked before anything is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from registry import tree
from registry.errors import InvalidSourceError
from registry.records import Model
from registry.source import Code, missing_functions, read_code

if TYPE_CHECKING:
    from registry.dependencies import Wanted

MAX_TEXT_BYTES = 1024 * 1024
"""Of a requirements, conda or Dockerfile."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The parts of an image. ``requirements`` is the text of ``requirements_file``, ``wanted`` what
    it means; ``notes`` go to the image's log."""

    models: tuple[Model, ...]
    code: Code | None
    requirements: str | None
    requirements_file: str
    max_batch: int | None
    notes: tuple[str, ...] = ()
    wanted: Wanted | None = None
    golden: bytes | None = None
    revision: str | None = None
    """The commit of the code, where its folder says none."""


def check_request(
    models: Sequence[Model],
    *,
    script: Path | None,
    source: Path | None,
    requirements: Path | None,
    conda: Path | None,
    max_batch: int | None,
) -> ImageRequest:
    """Read what is on disk and refuse what cannot work. Raises InvalidSourceError, and
    RequirementsError for a requirements or conda file."""
    if requirements is not None and conda is not None:
        raise InvalidSourceError("give a requirements file or a conda file, not both")
    if source is not None and script is None:
        raise InvalidSourceError("a source folder needs a script to start from")
    if max_batch is not None and max_batch < 1:
        raise InvalidSourceError(f"max_batch must be at least 1, not {max_batch}")
    if not models:
        raise InvalidSourceError("an image needs a model")
    distinct = tuple({model.reference: model for model in models}.values())
    if script is None:
        _check_servable(distinct)
    listed = requirements if conda is None else conda
    text = None if listed is None else read_text(listed)
    code = None if script is None else read_code(script, source)
    return ImageRequest(
        distinct,
        code,
        text,
        "requirements.txt" if conda is None else "conda.yml",
        max_batch,
        () if code is None or script is None else (*_notes(script), *code.notes),
        None if text is None else _wanted(text, is_conda=conda is not None),
    )


def _wanted(text: str, *, is_conda: bool) -> Wanted:
    from registry import dependencies  # 50 ms that only who lists requirements pays

    read = dependencies.read_conda if is_conda else dependencies.read_requirements
    return read(text)


def _check_servable(models: Sequence[Model]) -> None:
    if len(models) != 1:
        raise InvalidSourceError(f"an image of {len(models)} models needs a script: --script")
    if models[0].entry is None:
        raise InvalidSourceError(
            f"model {models[0].reference} has not just one .onnx file, so its image needs a script:"
            " --script score.py"
        )


def _notes(script: Path) -> tuple[str, ...]:
    missing = missing_functions(script)
    return tuple(f"note: {script.name} does not define {name}() itself" for name in missing)


def read_text(path: Path) -> str:
    """A small file of UTF-8 text. Raises InvalidSourceError."""
    if path.is_dir():
        raise InvalidSourceError(f"'{path}' is a folder, not a file")
    [file] = tree.walk(path)
    if file.size_bytes > MAX_TEXT_BYTES:
        raise InvalidSourceError(f"'{path}' is larger than {MAX_TEXT_BYTES} bytes")
    with file.open() as opened:
        try:
            return opened.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidSourceError(f"'{path}' is no UTF-8 text") from error
