"""Runs the cases of a module: its functions case_*, in order."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Servers:
    """Addresses without http://, one for each model. doubling: y = 2 x for float32 [N,4];
    identity: in_D -> out_D for each datatype D but BF16, bfloat16: the same for BF16."""

    doubling: str
    identity: str
    bfloat16: str


def case_names(module: str) -> list[str]:
    """The cases of a module here, without importing it: its clients are not installed."""
    text = (FOLDER / f"{module}.py").read_text("utf-8")
    return re.findall(r"^(?:async )?def (case_\w+)", text, re.MULTILINE)


def main(cases: Mapping[str, Any]) -> None:
    """Print ``{"case": name, "error": None or a traceback}`` for each."""
    servers = Servers(*sys.argv[1:4])
    for name, case in list(cases.items()):
        if not name.startswith("case_"):
            continue
        error = None
        try:
            if inspect.iscoroutinefunction(case):
                asyncio.run(case(servers))
            else:
                case(servers)
        except Exception:
            error = traceback.format_exc()
        print(json.dumps({"case": name, "error": error}), flush=True)
