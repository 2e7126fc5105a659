"""Reads the code of an image: its script, and the folder that the script comes from. Refuses what
cannot work before anything is written."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import tree
from registry.errors import InvalidSourceError

NEVER_PACKED = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", ".env", ".inferry", ".aws", ".ssh", ".DS_Store"}
    | {".netrc", ".pypirc", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"}
)
"""Names that no image gets: version control, caches, secrets."""
NEVER_ENDINGS = (".pyc", ".pem", ".key")
MAX_SCRIPT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Code:
    """What goes to code/: the files, and which of them is the script."""

    files: tuple[tree.SourceFile, ...]
    script: str


def read_code(script: Path, source: Path | None) -> Code:
    """The script alone (at the top of code/), or the folder ``source`` with it: in its place when
    it lies inside, else on top. Of a folder, what ``NEVER_PACKED`` and ``NEVER_ENDINGS`` name is
    left out. Raises InvalidSourceError."""
    if script.suffix != ".py":
        raise InvalidSourceError(f"the script '{tree.shown(str(script))}' is no .py file")
    if script.is_dir():
        raise InvalidSourceError(f"the script '{script}' is a folder")
    [script_file] = tree.walk(script)
    _parsed(script_file)
    code = Code((script_file,), script_file.path)
    if source is not None:
        code = _with_folder(script, script_file, source)
    _check_no_scoring_module(code.files)
    return code


def missing_functions(script: Path) -> list[str]:
    """Those of init and run that the script does not define at its top level itself."""
    [file] = tree.walk(script)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    defined = {node.name for node in _parsed(file).body if isinstance(node, functions)}
    return [name for name in ("init", "run") if name not in defined]


def _with_folder(script: Path, script_file: tree.SourceFile, source: Path) -> Code:
    if not source.is_dir():
        raise InvalidSourceError(f"the source '{source}' is no folder")
    files = tree.walk(source, is_wanted=_is_wanted)
    paths = {file.path for file in files}
    if script.resolve().is_relative_to(source.resolve()):
        inside = script.resolve().relative_to(source.resolve()).as_posix()
        if inside not in paths:
            raise InvalidSourceError(f"the script '{inside}' lies where no image takes files from")
        return Code(tuple(files), inside)
    if script_file.path in paths:
        raise InvalidSourceError(
            f"the source has another '{script_file.path}'; give the script inside of it"
        )
    return Code((*files, script_file), script_file.path)


def _is_wanted(name: str) -> bool:
    return name not in NEVER_PACKED and not name.endswith(NEVER_ENDINGS)


def _parsed(file: tree.SourceFile) -> ast.Module:
    if file.size_bytes > MAX_SCRIPT_BYTES:
        raise InvalidSourceError(
            f"the script '{file.path}' is larger than {MAX_SCRIPT_BYTES} bytes"
        )
    with file.open() as opened:
        text = opened.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code; not ours to show
            compile(text, file.path, "exec", dont_inherit=True)
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "too deeply nested"
        raise InvalidSourceError(
            f"the script '{file.path}' is not valid Python{where}: {reason}"
        ) from error


def _check_no_scoring_module(files: Sequence[tree.SourceFile]) -> None:
    tops = {file.path.split("/")[0] for file in files}
    if tops & {"scoring", "scoring.py"}:
        raise InvalidSourceError(
            "the code has a module 'scoring', which is the server's own name; rename it"
        )
