"""A line for each scoring request: as the reference server writes it, or as a JSON object.

text    POST /score 200 12.345ms 17            through the logger "azmlinfsrv"
json    {"time": "2026-11-24T12:00:00.123Z", "method": "POST", "path": "/score", "status": 200,
         "ms": 12.345, "bytes": 17, "id": "..."}                 to stderr, nothing around it
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import Literal

import orjson

from scoring.http.answer import Answer
from scoring.http.call import Call

logger = logging.getLogger("azmlinfsrv")
Form = Literal["text", "json"]


def write(form: Form, call: Call, answer: Answer, seconds: float, request_id: str) -> None:
    """Write the line. A stream has no length yet."""
    query = call.query.decode("latin-1")
    path = f"{call.path}?{query}" if query else call.path
    size = len(answer.body) if isinstance(answer.body, bytes) else None
    if form == "json":
        line = {
            "time": _now(),
            "method": call.method,
            "path": path,
            "status": answer.status,
            "ms": round(seconds * 1e3, 3),
            "bytes": size,
            "id": request_id,
        }
        with contextlib.suppress(OSError, ValueError):  # nobody reads it: answer
            sys.stderr.write(orjson.dumps(line).decode() + "\n")
        return
    if not path.isprintable():  # a %0A in it must not begin a line of its own
        path = path.encode("unicode_escape").decode()
    length = "N/A" if size is None else size
    logger.info("%s %s %d %.3fms %s", call.method, path, answer.status, seconds * 1e3, length)


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
