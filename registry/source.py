"""Reads the code of an image: its script, and the folder that the script comes from. Refuses what
cannot work before anything is written."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import never_packed, tree
from registry.errors import InvalidSourceError
from registry.selection import RULE, Selection

NEVER_PACKED = never_packed.NAMES
"""Names that no image gets."""
MAX_SCRIPT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Code:
    """What goes to code/: the files, and which of them is the script. ``notes`` say what of the
    source folder was left out."""

    files: tuple[tree.SourceFile, ...]
    script: str
    notes: tuple[str, ...] = ()


def read_code(script: Path, source: Path | None) -> Code:
    """The script alone (at the top of code/), or the folder ``source`` with it: in its place when
    it lies inside, else on top. Of a folder, what the fixed rule or the ignore file names is left
    out. Raises InvalidSourceError, also for a private key among the files."""
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
    selection = Selection(source)
    is_inside = script.resolve().is_relative_to(source.resolve())
    path = script_file.path
    if is_inside:
        path = script.resolve().relative_to(source.resolve()).as_posix()
        _check_wanted(path, selection)
    files = tree.walk(source, is_wanted=selection.wants)
    for file in files:
        _check_no_key(file)
    has_path = any(file.path == path for file in files)
    if is_inside and not has_path:
        raise InvalidSourceError(f"the script '{path}' is not among the files of the source")
    if not is_inside and has_path:
        raise InvalidSourceError(f"the source has another '{path}'; give the script inside of it")
    found = (*files,) if is_inside else (*files, script_file)
    return Code(found, path, selection.notes())


def _check_wanted(path: str, selection: Selection) -> None:
    """That the script ``path`` is not left out, nor a folder that it lies in."""
    left_out = selection.reason_for(path)
    if left_out is None:
        return
    where, reason = left_out
    what = "is" if where == path else f"lies in '{tree.shown(where)}', which is"
    by = "the rule that no image has such files" if reason == RULE else f"the source's {reason}"
    raise InvalidSourceError(f"the script '{tree.shown(path)}' {what} left out by {by}")


def _check_no_key(file: tree.SourceFile) -> None:
    if never_packed.is_private_key(file.head(never_packed.HEAD_BYTES)):
        raise InvalidSourceError(
            f"'{tree.shown(file.path)}' is a private key, which an image would give to everyone"
            " who has it; move it out of the source, or name it in an ignore file"
        )


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
