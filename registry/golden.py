"""golden.json: requests whose answers are known, which travel with an image. A device lets a new
version answer them before it comes into service (edge/switch).

{"v": 1, "cases": [{"input": <body of POST /score>, "output": <expected answer, optional>}],
 "tolerance": {"absolute": 1e-4, "relative": 1e-3}, "max_latency_ms": null}
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from registry.errors import InvalidSourceError

FILE = "golden.json"
MAX_BYTES = 1024 * 1024
"""As much as a device reads (edge/stock/bundles.py)."""
MAX_DEPTH = 200
MAX_CASES = 1000
_KEYS = {"v", "cases", "tolerance", "max_latency_ms"}


def read_golden(path: Path) -> bytes:
    """The file, as it goes into the image. Raises InvalidSourceError, saying what is wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidSourceError(f"'{path}' is larger than {MAX_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSourceError(f"'{path}' cannot be read: {error.strerror}") from error
    return check_golden(data, f"'{path}'")


def check_golden(data: bytes, what: str) -> bytes:
    """``data``, if it is golden inputs; ``what`` names it. Raises InvalidSourceError."""
    if len(data) > MAX_BYTES:
        raise InvalidSourceError(f"{what} is larger than {MAX_BYTES} bytes")
    try:
        found = json.loads(data, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise InvalidSourceError(f"{what} is no JSON: {error}") from error
    complaint = _complaint(found)
    if complaint:
        raise InvalidSourceError(f"{what} is no file of golden inputs: {complaint}")
    return data


def first_input(golden: bytes) -> bytes:
    """A request body that the image must score: that of the first case."""
    found = json.loads(golden)["cases"][0]["input"]
    return found.encode() if isinstance(found, str) else json.dumps(found).encode()


def _refused(constant: str) -> Any:
    """JSON has no such number: other readers would refuse the whole file."""
    raise ValueError(f'write {constant} as a text: "{constant}"')


def _is_deeper(document: Any, levels: int) -> bool:
    if not isinstance(document, (list, dict)):
        return False
    inner = document.values() if isinstance(document, dict) else document
    return levels <= 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _complaint(found: Any) -> str | None:
    if _is_deeper(found, MAX_DEPTH):
        return f"it is nested deeper than {MAX_DEPTH} levels"
    if not isinstance(found, dict) or found.get("v") != 1:
        return 'it begins with {"v": 1, "cases": [...]}'
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        return f"there is no key {unknown[0][:40]!a}"
    cases = found.get("cases")
    if not isinstance(cases, list) or not 1 <= len(cases) <= MAX_CASES:
        return f"it has 1 to {MAX_CASES} cases"
    for number, case in enumerate(cases, 1):
        if not isinstance(case, dict) or "input" not in case or set(case) - {"input", "output"}:
            return f'case {number} must be {{"input": ..., "output": ...}}'
    tolerance = found.get("tolerance", {})
    if not isinstance(tolerance, dict) or set(tolerance) - {"absolute", "relative"}:
        return 'the tolerance is {"absolute": ..., "relative": ...}'
    if not all(_is_amount(value) for value in tolerance.values()):
        return "a tolerance is a number from 0 on"
    latency = found.get("max_latency_ms")
    if latency is not None and (not _is_amount(latency) or latency <= 0):
        return "max_latency_ms is a number above 0"
    return None


def _is_amount(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0
