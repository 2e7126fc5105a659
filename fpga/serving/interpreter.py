"""Which Python drives the board: one that has pynq, which needs numpy < 2, as the server's may not.

python = choose(os.environ.get("INFERRY_FPGA_PYTHON"), needs_pynq=True)
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from fpga.errors import BoardError

IMAGES_PYTHON = "/usr/local/share/pynq-venv/bin/python3"
"""Of PYNQ's SD card images."""
_OF_THE_SERVER = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")


def has_pynq() -> bool:
    """In this very Python, without importing it."""
    return importlib.util.find_spec("pynq") is not None


def choose(
    asked: str | None,
    *,
    needs_pynq: bool,
    own: str = sys.executable,
    has_it: Callable[[], bool] = has_pynq,
    exists: Callable[[str], bool] = os.path.exists,
) -> str:
    """``asked``: INFERRY_FPGA_PYTHON. Raises BoardError, saying what to do."""
    if asked:
        if not exists(asked):
            raise BoardError(f"INFERRY_FPGA_PYTHON is '{asked}', where no Python is")
        return asked
    if not needs_pynq or has_it():
        return own
    if exists(IMAGES_PYTHON):
        return IMAGES_PYTHON
    raise BoardError(
        "pynq is not installed in this Python: set INFERRY_FPGA_PYTHON to one that has it"
        " (scripts/pynq makes .venv-pynq/bin/python)"
    )


def environment(environ: Mapping[str, str], python: str) -> dict[str, str]:
    """Of the process that drives the board. Another Python must not find the server's packages."""
    kept = dict(environ)
    if Path(python).absolute() != Path(sys.executable).absolute():
        for name in _OF_THE_SERVER:
            kept.pop(name, None)
    kept.setdefault("OPENBLAS_NUM_THREADS", "1")
    return kept
