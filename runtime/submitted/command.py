"""Runs one program to its end, or to the end of those who wait for it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from runtime.submitted.layout import CODE, LOG, Folder
from runtime.submitted.processes import (
    die_with_parent,
    end_descendants,
    reap_but,
    send_to_group,
)
from runtime.submitted.watch import EndedError, Watch

TICK_S = 0.05


class Commands:
    """Those of one run; what they print goes to its log."""

    def __init__(self, folder: Folder, watch: Watch, grace_s: float) -> None:
        self._folder = folder
        self._watch = watch
        self._grace_s = grace_s
        self._log = os.open(folder.at(LOG), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(self, line: str) -> None:
        """A line of our own."""
        os.write(self._log, f"inferry: {line}\n".encode())

    def call(
        self, argv: Sequence[str], variables: Mapping[str, str], max_duration_s: float = 0
    ) -> int:
        """The exit code (below 0: the signal) when it and all that it has started have ended.
        Raises EndedError."""
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=dict(variables),
                cwd=self._folder.at(CODE),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EndedError("setup", f"{argv[0]!a} cannot be started: {reason}") from error
        deadline = time.monotonic() + max_duration_s
        try:
            pause_s = 0.002
            while child.poll() is None:
                self._watch.check()
                reap_but(child.pid)
                if max_duration_s and time.monotonic() > deadline:
                    raise EndedError("timeout", f"it took longer than {max_duration_s:g} s")
                time.sleep(pause_s)
                pause_s = min(TICK_S, pause_s * 1.5)
            return child.returncode
        finally:
            self._end(child)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Ask it to end, and then end it."""
        if child.poll() is None and not self._watch.is_left():
            send_to_group(child.pid, signal.SIGTERM)
            deadline = time.monotonic() + self._grace_s
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        send_to_group(child.pid, signal.SIGKILL)
        child.wait()
        end_descendants()
