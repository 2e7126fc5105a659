"""``python -m scoring.selftest BUNDLE``: do the packages import, does the server answer a sample?

Inside the image: on a read-only root, without a network, as a user without an account. The last
line of stdout is the report, one JSON object; the server's log is on stderr; exit code 0 or 1.

    {"ok": true, "imports": {"numpy": null}, "ready_s": 0.41,
     "score": {"status": 200, "bytes": 46, "ms": 2.1, "sample": "made"}, "cause": null}

``imports`` has what went wrong with each name, or null. ``score`` may be {"skipped": "why"}, which
is fine for a script that has no sample. ``cause`` is one line for people.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scoring.selftest.child_log import LogCopy
from scoring.selftest.children import end_children, settle
from scoring.selftest.errors import SelfTestError
from scoring.selftest.imports import check_imports
from scoring.selftest.probe import Probe
from scoring.selftest.server_child import ServerChild

TIMEOUT_S = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Test; returns the exit code."""
    asked = _parse(sys.argv[1:] if argv is None else argv)
    settle()
    log = LogCopy(sys.stderr.buffer)
    try:
        report = _test(asked, log, time.monotonic() + asked.timeout_s)
    finally:
        end_children()
        log.finish()
    print(json.dumps(report, allow_nan=False), flush=True)
    return 0 if report["ok"] else 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scoring.selftest", description=__doc__)
    parser.add_argument("bundle", type=Path, help="bundle folder, model folder or .onnx file")
    parser.add_argument("--sample", help="JSON file to score; -: from stdin; none: make one")
    parser.add_argument("--sample-json", help="the same, as text")
    parser.add_argument("--import", action="append", default=[], dest="imports", metavar="NAME")
    parser.add_argument("--timeout-s", type=float, default=TIMEOUT_S, help="of all (%(default)s)")
    return parser.parse_args(argv)


def _test(asked: argparse.Namespace, log: LogCopy, deadline: float) -> dict[str, Any]:
    imports: dict[str, str | None] = {}
    server: ServerChild | None = None
    probe = Probe(asked.bundle, deadline)
    cause = None
    try:
        sample = _sample(asked)
        server = ServerChild(asked.bundle, log, deadline)
        importing = threading.Thread(
            target=check_imports, args=(asked.imports, imports, log, deadline)
        )
        importing.start()
        try:
            server.wait_ready()
            probe.score(server.port, sample)
        finally:
            importing.join()
    except SelfTestError as error:
        cause = str(error)
    failed = [f"import of '{name}' failed: {why}" for name, why in imports.items() if why]
    cause = failed[0] if failed else cause
    return {
        "ok": cause is None,
        "imports": imports,
        "ready_s": None if server is None else server.ready_s,
        "score": probe.found,
        "cause": cause,
    }


def _sample(asked: argparse.Namespace) -> bytes | None:
    """The body to send. Raises SelfTestError when it is no JSON."""
    try:
        if asked.sample_json is not None:
            data = asked.sample_json.encode()
        elif asked.sample == "-":
            data = sys.stdin.buffer.read()
        elif asked.sample is not None:
            data = Path(asked.sample).read_bytes()
        else:
            return None
        json.loads(data)
    except OSError as error:
        raise SelfTestError(f"the sample cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SelfTestError(f"the sample is no JSON: {error}") from error
    return bytes(data)


if __name__ == "__main__":
    sys.exit(main())
