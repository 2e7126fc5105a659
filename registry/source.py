"""Reads the code of an image: its script, and the folder that the script comes from. Refuses what
cannot work before anything is written."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import tree
from registry.errors import InvalidSourceError

NEVER_PACKED = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", ".env", ".inferry", ".aws", ".ssh", ".DS_Store"}
)
"""Names that no image gets: version control, caches, secrets."""


@dataclass(frozen=True, slots=True)
class Code:
    """What goes to code/: the files, and which of them is the script."""

    files: tuple[tree.SourceFile, ...]
    script: str


def read_code(script: Path, source: Path | None) -> Code:
    """The script alone (at the top of code/), or the folder ``source`` with it: in its place when
    it lies inside, else on top. Raises InvalidSourceError."""
    if script.suffix != ".py":
        raise InvalidSourceError(f"the script '{script}' is no .py file")
    [script_file] = tree.walk(script) if not script.is_dir() else [None]
    if script_file is None:
        raise InvalidSourceError(f"the script '{script}' is a folder")
    _check_python(script_file)
    if source is None:
        return Code((script_file,), script_file.path)
    if not source.is_dir():
        raise InvalidSourceError(f"the source '{source}' is no folder")
    files = tree.walk(source, is_wanted=_is_wanted)
    _check_no_scoring_module(files)
    if script.resolve().is_relative_to(source.resolve()):
        return Code(tuple(files), str(script.resolve().relative_to(source.resolve()).as_posix()))
    if any(file.path == script_file.path for file in files):
        raise InvalidSourceError(
            f"the source has another '{script_file.path}'; give the script inside of it"
        )
    return Code((*files, script_file), script_file.path)


def missing_functions(script: Path) -> list[str]:
    """Those of init and run that the script does not define at its top level itself."""
    tree_ = ast.parse(script.read_bytes())
    defined = {node.name for node in tree_.body if isinstance(node, ast.FunctionDef)}
    return [name for name in ("init", "run") if name not in defined]


def _is_wanted(name: str) -> bool:
    return name not in NEVER_PACKED and not name.endswith((".pyc", ".pem", ".key"))


def _check_python(file: tree.SourceFile) -> None:
    with file.open() as opened:
        text = opened.read()
    try:
        compile(text, file.path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InvalidSourceError(
            f"the script '{file.path}' is not valid Python{where}: {reason}"
        ) from error


def _check_no_scoring_module(files: Sequence[tree.SourceFile]) -> None:
    tops = {file.path.split("/")[0] for file in files}
    if tops & {"scoring", "scoring.py"}:
        raise InvalidSourceError(
            "the source has a module 'scoring', which is the server's own name; rename it"
        )
