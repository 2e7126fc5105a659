"""The folder that a submitted script runs in, and what is said about it.

WORK/
  agent.py           begins the programs of this package
  client/            runtime.submitted, and runtime.tracking for the script
  azureml/           azureml.core.Run, for a Python without Azure's package
  order.json         what to run; removed as soon as it is read, as it may hold secrets
  code/              the script's folder: inputs/ and outputs/ are in it
  run/               the journal (runtime.tracking.journal)
  log                what the script prints
  state.json         {"phase": "preparing" | "running" | "ended", ...}
  lease              touched by who follows; untouched for too long, the script is ended
  alive              locked by what runs the script, as long as that lives
  heard              who follows has all there is
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import Any

ORDER, LOG, STATE, LEASE = "order.json", "log", "state.json", "lease"
ALIVE, HEARD = "alive", "heard"
CODE, CLIENT, AZUREML, RUN = "code", "client", "azureml", "run"
INPUTS, OUTPUTS = "inputs", "outputs"
CODE_ZIP, CLIENT_ZIP = "code.zip", "client.zip"
"""For Spark's executors."""
JOURNAL, FILES, ANSWERS, CANCEL = "journal", "files", "answers", "cancel"
"""Below RUN."""

LOG_FRAME, JOURNAL_FRAME, STATE_FRAME, OUTPUTS_FRAME = b"L", b"J", b"S", b"O"
BEGIN_FRAME, DATA_FRAME, END_FRAME, ALIVE_FRAME = b"B", b"D", b"E", b"H"
"""What ``follow`` says: a letter, the length in 4 bytes (big endian), and the bytes."""
MAGIC = b"\0inferry frames\n"
"""Goes before the first: what a shell's own files print on the way is no part of it."""
HEADER = ">cI"
HEADER_BYTES = 5
MAX_FRAME_BYTES = 1 << 20
CHUNK_BYTES = 256 * 1024
ALIVE_S = 3.0
"""Between two signs of life."""


class Folder:
    """WORK, on the target."""

    def __init__(self, path: str) -> None:
        self.path = path

    def at(self, *parts: str) -> str:
        """A path in it."""
        return os.path.join(self.path, *parts)

    def write(self, name: str, document: Any) -> None:
        """A JSON file, whole or not at all."""
        path = self.at(name)
        with open(path + ".new", "wb") as file:
            file.write(json.dumps(document).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".new", path)

    def write_state(self, phase: str, **facts: Any) -> None:
        """What the run is at."""
        self.write(STATE, dict(facts, phase=phase, at_ms=int(time.time() * 1000)))

    def read(self, name: str) -> bytes | None:
        """A file, if there is one."""
        try:
            with open(self.at(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def touch(self, *parts: str) -> None:
        """Make the file, or give it a new time."""
        with open(self.at(*parts), "ab"):
            os.utime(self.at(*parts))


def hold(folder: Folder) -> int:
    """As long as this process lives: see ``is_alive``."""
    handle = os.open(folder.at(ALIVE), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def is_alive(folder: Folder) -> bool:
    """Whether a process holds the folder."""
    with contextlib.suppress(OSError), open(folder.at(ALIVE), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
