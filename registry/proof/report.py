"""Reads what ``python -m scoring.selftest`` printed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from registry.errors import ProofError

_BEGINNING = '{"ok": '
MAX_LOG_CHARS = 256 * 1024
MAX_CAUSE_CHARS = 500


def is_report(line: str) -> bool:
    """Whether the line has a report, which is no line of the log."""
    return _BEGINNING in line


def find_report(output: str) -> Mapping[str, Any] | None:
    """The last report in the output. It may begin in the middle of a line: a container's stdout and
    stderr come as one."""
    start = output.rfind(_BEGINNING)
    while start >= 0:
        try:
            found, _ = json.JSONDecoder().raw_decode(output, start)
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("imports"), dict):
            return found
        start = output.rfind(_BEGINNING, 0, start)
    return None


def judge(report: Mapping[str, Any] | None, ending: str, log: str) -> str:
    """What was shown, in words. Raises ProofError with the cause when it does not score; ``ending``
    says how the test ended, which is the cause when there is no report."""
    log = log[-MAX_LOG_CHARS:]
    if report is None:
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        last = f": {lines[-1]}" if lines else ""
        raise ProofError(f"the image was not tested: {ending}{last}"[:MAX_CAUSE_CHARS], log)
    if report.get("ok") is not True:
        raise ProofError(str(report.get("cause") or ending)[:MAX_CAUSE_CHARS], log)
    score = report.get("score") or {}
    if "skipped" in score:
        return f"loads; not scored: {score['skipped']}"
    origins = {
        "given": "the given sample",
        "made": "a sample made from the signature",
        "the script's": "the script's own sample",
    }
    origin = origins.get(str(score.get("sample")), "a sample")
    return f"answers {origin} with {score.get('status')} in {score.get('ms')} ms"
