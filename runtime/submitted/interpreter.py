"""The Python that runs the script: one that is there, or a virtual environment with the
requirements, made once for the same ones."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import IO, NamedTuple

from runtime.submitted.command import TICK_S, Commands
from runtime.submitted.layout import CODE, Folder
from runtime.submitted.watch import EndedError, Watch

OLDEST = (3, 11)
PROBE_S = 60
COMPLETE = "complete"
PROBE = """
import os, sys
from importlib.util import find_spec
def has(name, *below):
    spec = find_spec(name)
    places = spec.submodule_search_locations or [] if spec else []
    return any(os.path.exists(os.path.join(place, *below)) for place in places)
print(*sys.version_info[:2], int(has("runtime", "tracking", "journal.py")), int(has("azureml")))
"""


class Has(NamedTuple):
    """Which packages an interpreter has by itself: a tracker that knows journals, and Azure's own.
    What it has goes before what we bring."""

    tracking: bool
    azureml: bool


def found_interpreter(wanted: str) -> str:
    """Where it is. Raises EndedError."""
    found = shutil.which(wanted or sys.executable or "python3")
    if found is None:
        raise EndedError("setup", f"there is no Python interpreter {wanted!a} on the target")
    return found


def checked(python: str, variables: Mapping[str, str]) -> Has:
    """What it has, with these variables. Raises EndedError for one that is too old, or does not
    run."""
    try:
        major, minor, tracking, azureml = map(int, _said(python, PROBE, variables).split())
    except ValueError:
        raise EndedError("setup", f"{python!a} is no Python interpreter that runs") from None
    if (major, minor) < OLDEST:
        raise EndedError(
            "setup",
            f"the target's Python is {major}.{minor}; a run needs {OLDEST[0]}.{OLDEST[1]} or newer"
            " (python.interpreter says which one)",
        )
    return Has(bool(tracking), bool(azureml))


class Environments:
    """Virtual environments below the folder ``cache``."""

    def __init__(self, folder: Folder, commands: Commands, watch: Watch, cache: str) -> None:
        self._folder = folder
        self._commands = commands
        self._watch = watch
        self._cache = os.path.expanduser(cache)

    def python(self, base: str, requirements: str, key: str) -> str:
        """That of the environment ``key``, made by the interpreter ``base`` of the requirements
        file in the script's folder. Raises EndedError."""
        version = _said(base, "import sys; print(sys.version, sys.prefix)")
        place = os.path.join(self._kept(), _hex(f"{key} {base} {version}"))
        made = os.path.join(place, "bin", "python")
        complete = os.path.join(place, COMPLETE)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place + ".lock", "w") as lock:
            self._hold(lock)
            if os.path.exists(complete):
                os.utime(complete)
                self._commands.say(f"Found the environment of {requirements}")
                return made
            shutil.rmtree(place, ignore_errors=True)
            self._commands.say(f"Making an environment of {requirements}")
            self._make(base, place)
            pip = [base, "-m", "pip", "--python", made] if _has_pip(base) else [made, "-m", "pip"]
            install = ["install", "--disable-pip-version-check", "--no-input", "--quiet", "-r"]
            source = self._folder.at(CODE, requirements)
            self._need([*pip, *install, source], "the requirements do not install")
            with open(complete, "wb"):
                pass
        return made

    def _make(self, base: str, place: str) -> None:
        """Without a pip of its own, which takes seconds, where the base has one that will do."""
        options = ["--without-pip"] if _has_pip(base) else []
        self._need([base, "-m", "venv", *options, place], "no virtual environment can be made")

    def _kept(self) -> str:
        """The cache, or where it cannot be written a folder of this run."""
        try:
            os.makedirs(self._cache, exist_ok=True)
            if os.access(self._cache, os.W_OK | os.X_OK):
                return self._cache
        except OSError:
            pass
        return self._folder.at("cache")

    def _hold(self, lock: IO[str]) -> None:
        """Of two runs with the same requirements, one makes the environment."""
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self._watch.check()
                time.sleep(TICK_S)

    def _need(self, argv: list[str], what: str) -> None:
        code = self._commands.call(argv, dict(os.environ, PYTHONUNBUFFERED="1"))
        if code != 0:
            raise EndedError("setup", f"{what} (exit code {code})")


def _has_pip(python: str) -> bool:
    """One that installs into another environment."""
    program = "import pip; print(int(pip.__version__.split('.')[0]) >= 23)"
    return _said(python, program) == "True"


def _said(python: str, program: str, variables: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            [python, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_S,
            cwd="/",
            env=None if variables is None else dict(variables),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def _hex(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:32]
