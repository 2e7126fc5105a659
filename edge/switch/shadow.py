"""The shadow run: for ``shadow_s`` the requests that the old version answers are put to the new one
too, and the answers are compared.

A live instance of a module with ``shadow_s`` > 0 is started with --capture: the scoring server
writes requests and answers to captured.jsonl, at most CAPTURE_MIB, in a folder of the device that
it may write (in a container: capture_folder of edge/hosts). At the start of a shadow run the file
is moved away, so that what is compared is fresh traffic. Clients notice nothing: the new version
gets each request some tenths of a second later, one at a time, and its answers go nowhere.

Without traffic, or when the version before was started without capture (the first update after
``shadow_s`` was set), there is nothing to compare, and the shadow run passes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.errors import GateError
from edge.hosts.port import CAPTURE_FOLDER, Observed
from edge.messages.desired import Module
from edge.switch.golden import Tolerance, check_answer, check_expected
from edge.switch.scoring import score

FILE = "captured.jsonl"
CAPTURE_MIB = 16
PAUSE_S = 0.2
ANSWER_S = 30.0
MAX_LINE_BYTES = 4 * 1024 * 1024
FEWEST = 5
"""With fewer answers one difference would decide."""


def capture_arguments(host: str, folder: Path | None) -> Sequence[str]:
    """Of the scoring server. ``folder``: on this device; None: nothing is captured."""
    if folder is None:
        return ()
    seen = folder if host == "process" else Path(CAPTURE_FOLDER)
    return ("--capture", str(seen / FILE), "--capture-mib", str(CAPTURE_MIB))


def run_shadow(
    module: Module,
    new: Observed,
    folder: Path,
    check: Callable[[], None],
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> tuple[int, int]:
    """For ``shadow_s``; (answers that agree, answers). Raises GateError("shadow"), and what
    ``check`` raises."""
    path = folder / FILE
    with suppress(OSError):
        path.unlink()  # the server makes a new one
    position = agreed = asked = 0
    deadline = clock() + module.update.shadow_s
    last_difference = ""
    while clock() < deadline:
        check()
        lines, position = _new_lines(path, position)
        for body, expected in _pairs(lines):
            check()
            if clock() >= deadline:
                break
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
    """Whole lines since ``position``, and where the next begin. A module owns the folder: what is
    no file is not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return [], position
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return [], position
        data = os.pread(handle, MAX_LINE_BYTES, position)
    except OSError:
        return [], position
    finally:
        os.close(handle)
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) == MAX_LINE_BYTES:
        return [], position + len(data)  # one line, too long to be looked at
    return data[:end].splitlines(), position + end


def _pairs(lines: list[bytes]) -> Iterator[tuple[bytes, Any]]:
    """(request, the old version's answer) of those that were answered well."""
    for line in lines:
        try:
            found = json.loads(line)
            if found["status"] != 200 or found.get("route", "/score") != "/score":
                continue
            yield json.dumps(found["input"]["json"]).encode(), found["output"]["json"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # no JSON, or cut: nothing to compare


def _difference(new: Observed, body: bytes, expected: Any) -> str | None:
    """None: it agrees."""
    try:
        answer = check_answer(score(new, body, ANSWER_S), "a request")
        check_expected(answer, expected, Tolerance(), "a request")
    except (OSError, GateError) as error:
        return str(error)
    return None
