"""The commands that a wheel brings: entry points and scripts, for the image's Python. Pure."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator

from registry.errors import BaseImageError, RequirementsError

_GROUPS = ("console_scripts", "gui_scripts")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_IDENTIFIERS = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_TARGET = re.compile(rf"({_IDENTIFIERS})\s*:\s*({_IDENTIFIERS})\s*(?:\[.*\])?")
_PYTHON_LINE = re.compile(rb"^#!pythonw?[^\r\n]*")
_PYTHON_PATH = re.compile(r"/[A-Za-z0-9_./+-]{1,120}")


def check_python_path(path: str) -> str:
    """``path`` itself, when a first line ``#!path`` can name it. Raises BaseImageError."""
    if not _PYTHON_PATH.fullmatch(path):
        raise BaseImageError(f"the base image's Python has the path {ascii(path)[:120]}")
    return path


def entry_point_scripts(text: str, python_path: str, wheel: str) -> Iterator[tuple[str, bytes]]:
    """Name and text of a script for each command in entry_points.txt. Raises RequirementsError."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise RequirementsError(f"{wheel} has an entry_points.txt that cannot be read") from error
    for group in _GROUPS:
        for name, value in parser.items(group) if parser.has_section(group) else ():
            target = _TARGET.fullmatch(value.strip())
            if not _NAME.fullmatch(name) or target is None:
                raise RequirementsError(f"{wheel} has a command {ascii(name)[:60]} that cannot be")
            yield name, _script(python_path, target[1], target[2])


def with_python(data: bytes, python_path: str) -> bytes:
    """A script of a wheel, whose first line ``#!python`` stands for the Python it is run with."""
    line = f"#!{python_path}".encode()
    return _PYTHON_LINE.sub(lambda _: line, data, count=1)


def _script(python_path: str, module: str, function: str) -> bytes:
    first = function.split(".")[0]
    return (
        f"#!{python_path}\n"
        "import sys\n"
        f"from {module} import {first}\n"
        'if __name__ == "__main__":\n'
        f"    sys.exit({function}())\n"
    ).encode()
