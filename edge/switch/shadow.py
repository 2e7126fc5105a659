"""The shadow run: requests that the old version answered lately are put to the new one, and its
answers are compared with what the old one said.

The old version captures them itself: a module with ``args: [--capture, FILE]``, FILE being
captured.jsonl beside the agent's socket (in a container /run/inferry/captured.jsonl), writes down
requests and answers. Without a capture, or without traffic, there is nothing to compare, and the
shadow run passes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edge.errors import GateError
from edge.hosts.port import Observed
from edge.messages.desired import Module
from edge.switch.golden import Tolerance, check_answer, check_expected
from edge.switch.scoring import score

FILE = "captured.jsonl"
PAUSE_S = 0.2
ANSWER_S = 30.0
MAX_LINE_BYTES = 4 * 1024 * 1024
FEWEST = 5
"""With fewer answers one difference would decide."""


def run_shadow(
    module: Module,
    new: Observed,
    folder: Path,
    check: Callable[[], None],
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> tuple[int, int]:
    """For ``shadow_s``; (answers that agree, answers). Raises GateError("shadow")."""
    path = folder / FILE
    position = path.stat().st_size if path.exists() else 0
    deadline = clock() + module.update.shadow_s
    agreed = asked = 0
    last_difference = ""
    while clock() < deadline:
        check()
        lines, position = _new_lines(path, position)
        for body, expected in _pairs(lines):
            check()
            asked += 1
            difference = _difference(new, body, expected)
            agreed += difference is None
            last_difference = difference or last_difference
        pause(PAUSE_S)
    if asked >= FEWEST and agreed < module.update.shadow_agreement * asked:
        raise GateError(
            "shadow",
            f"{agreed} of {asked} answers agree with the version before,"
            f" {module.update.shadow_agreement:.0%} must; the last other one: {last_difference}",
        )
    return agreed, asked


def _new_lines(path: Path, position: int) -> tuple[list[bytes], int]:
    """Whole lines since ``position``, and where the next begin."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read(MAX_LINE_BYTES)
    except OSError:
        return [], position
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == MAX_LINE_BYTES:
        return [], position + len(data)  # one line, too long to be looked at
    return data[:end].splitlines(), position + end


def _pairs(lines: list[bytes]) -> Iterator[tuple[bytes, Any]]:
    """(request, the old version's answer) of those that were answered well."""
    for line in lines:
        try:
            found = json.loads(line)
            if found["status"] != 200 or found["input"].get("truncated"):
                continue
            if found["output"].get("truncated"):
                continue
            yield json.dumps(found["input"]["json"]).encode(), found["output"]["json"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _difference(new: Observed, body: bytes, expected: Any) -> str | None:
    """None: it agrees."""
    try:
        answer = check_answer(score(new, body, ANSWER_S), "a request")
        check_expected(answer, expected, Tolerance(), "a request")
    except (OSError, GateError) as error:
        return str(error)
    return None
