"""The image's own server, as a child: ``python -m scoring BUNDLE``, one process, one thread."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from scoring.selftest.child_log import ChildLog, LogCopy
from scoring.selftest.errors import SelfTestError
from scoring.selftest.imports import ended

HOST = "127.0.0.1"
ASK_EVERY_S = 0.25
"""Without a hint: another process may have printed into the middle of the line that gives it."""
LAST_WORDS_S = 1.0
"""How long what an ended server has printed may take to arrive."""
_QUICK = ["--processes", "1", "--workers", "1", "--threads", "1", "--drain-s", "1"]
_SCRIPT_FAILED = re.compile(r"the scoring script failed \((\w+)\): (.*)")


class ServerChild:
    """Started at once; ``ready_s`` is how long it took to be ready."""

    def __init__(self, what: Path, copy: LogCopy, deadline: float) -> None:
        self.ready_s: float | None = None
        self._deadline = deadline
        self._started = time.monotonic()
        self._news = threading.Event()
        # Bound but not listening, the number stays ours: with SO_REUSEADDR the server gets it too.
        self._place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind((HOST, 0))
        self.port = int(self._place.getsockname()[1])
        self._log = log = ChildLog(copy, self._heard)
        options = ["--host", HOST, "--port", str(self.port), *_QUICK]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scoring", str(what), *options],
            stdin=subprocess.DEVNULL,
            stdout=log.write_end,
            stderr=log.write_end,
        )
        log.started()
        threading.Thread(target=self._wait, name="server", daemon=True).start()

    def wait_ready(self) -> None:
        """Until it can score. Raises SelfTestError, with what the server said."""
        while True:
            left_s = self._deadline - time.monotonic()
            self._news.wait(max(min(left_s, ASK_EVERY_S), 0))
            if left_s <= 0:
                raise SelfTestError(
                    f"the server was not ready after {time.monotonic() - self._started:.0f} s:"
                    " loading, or init() of a script, does not end"
                )
            self._news.clear()
            if self._process.returncode is not None:
                self._log.wait(LAST_WORDS_S)
                raise SelfTestError(self._cause(self._process.returncode))
            if is_ready(self.port):
                self.ready_s = round(time.monotonic() - self._started, 3)
                return

    def _heard(self, line: str) -> None:
        """A hint only: a script can print this too, so that the server is asked then."""
        if line.endswith(f"Listening on http://{HOST}:{self.port}"):
            self._news.set()

    def _wait(self) -> None:
        self._process.wait()
        self._news.set()

    def _cause(self, code: int) -> str:
        said = list(self._log.lines)
        for line in reversed(said):
            if line.startswith("error: "):
                return _plain(line.removeprefix("error: "))
        last = f": {said[-1]}" if said else ""
        return f"the server {ended(code)}{last}"


def is_ready(port: int) -> bool:
    """Whether /readyz says so."""
    from scoring.selftest.client import ask

    try:
        return ask(port, "GET", "/readyz", timeout_s=5.0).status == 200
    except OSError:
        return False


def _plain(error: str) -> str:
    """The server's line, without what goes without saying here."""
    found = _SCRIPT_FAILED.fullmatch(error)
    if found is None:
        return error
    stage, why = found.groups()
    return why if why.startswith("init() ") else f"the script failed ({stage}): {why}"
