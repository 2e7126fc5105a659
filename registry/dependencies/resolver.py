"""Which versions: asks uv, for another machine than this one, and only for wheels.

    lock = resolve(["numpy>=2"], Target(Platform("arm64"), (3, 12), (2, 36)))

uv runs in an empty folder, with the user's indexes and without a shell. When no index can be
reached it is asked once more for what its cache knows.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from registry.dependencies import explanations
from registry.dependencies.indexes import Indexes, only_wheelhouse, read_indexes
from registry.dependencies.lock import Lock, make_lock, read_pylock
from registry.dependencies.requirements import read_requirement, split_hashes
from registry.dependencies.standards import canonical_name, canonical_version, parse_requirement
from registry.errors import RequirementsError
from registry.platforms import Target

KNOWN_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""The minor versions of glibc 2 that uv has platforms for."""
TIMEOUT_S = 900.0
POLL_S = 0.05
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
RETRIES = "2"


def resolve(
    wanted: Sequence[str],
    target: Target,
    *,
    preferences: Mapping[str, str] | None = None,
    wheelhouse: Path | None = None,
    offline: bool = False,
    cancelled: Callable[[], None] = lambda: None,
    conda_names: Collection[str] = (),
    say: Callable[[str], object] = lambda line: None,
    environment: Mapping[str, str] | None = None,
) -> Lock:
    """A lock of ``wanted`` (as Wanted has them) and all they need. ``preferences`` are versions by
    name that are tried first; with ``wheelhouse`` only its wheels are taken; ``cancelled`` may
    raise; ``say`` is told when the network was missing. Raises RequirementsError."""
    texts, hashes = _checked(wanted)
    if not texts:
        return make_lock(target, [])
    given = os.environ if environment is None else environment
    if wheelhouse is not None and not wheelhouse.is_dir():
        raise RequirementsError(f"the wheelhouse '{wheelhouse.name}' is no folder")
    indexes = only_wheelhouse(given, wheelhouse) if wheelhouse else read_indexes(given)
    with tempfile.TemporaryDirectory(prefix="inferry-resolve-") as folder:
        call = _Call(Path(folder), texts, preferences or {}, target, indexes)
        code, errors = call.run(offline, cancelled)
        if code and not offline and explanations.is_network_failure(errors):
            first = errors
            code, errors = call.run(True, cancelled)
            if code:
                raise RequirementsError(explanations.no_network(first, errors))
            say("no package index could be reached; the versions are those that uv's cache has")
        if code:
            raise RequirementsError(explanations.explain(errors, folder, target, conda_names))
        return read_pylock(call.output.read_text("utf-8"), target, hashes)


class _Call:
    """One resolution in its folder."""

    def __init__(
        self,
        folder: Path,
        texts: Sequence[str],
        preferences: Mapping[str, str],
        target: Target,
        indexes: Indexes,
    ) -> None:
        self.output = folder / "pylock.toml"
        self._folder = folder
        self._preferences = _pylock(preferences) if preferences else None
        self._input = folder / "requirements.in"
        self._input.write_text("".join(f"{text}\n" for text in texts))
        self._arguments = [
            "pip", "compile", self._input.name, "--output-file", self.output.name,
            "--python", sys.executable, "--no-python-downloads",
            "--python-version", f"{target.python[0]}.{target.python[1]}",
            "--python-platform", platform_name(target),
            "--only-binary", ":all:", "--generate-hashes", "--format", "pylock.toml",
            "--no-header", "--quiet", "--no-progress", "--color", "never", *indexes.arguments,
        ]  # fmt: skip
        self._environment = {"UV_HTTP_RETRIES": RETRIES, **indexes.environment}

    def run(self, offline: bool, cancelled: Callable[[], None]) -> tuple[int, str]:
        """uv's exit status and what it wrote to stderr."""
        self.output.unlink(missing_ok=True)
        if self._preferences is not None:
            self.output.write_text(self._preferences)
        arguments = [_uv(), *self._arguments, *(["--offline"] if offline else [])]
        errors = self._folder / "stderr"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd=self._folder,
                env=self._environment,
            )
            try:
                code = self._wait(process, cancelled)
            finally:
                process.kill()
                process.wait()
        return code, errors.read_text("utf-8", "replace")

    def _wait(self, process: subprocess.Popen[bytes], cancelled: Callable[[], None]) -> int:
        end = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                cancelled()
            if time.monotonic() > end:
                raise RequirementsError(f"no versions were found in {TIMEOUT_S:.0f} s; try again")
            if _written_bytes(self._folder) > MAX_OUTPUT_BYTES:
                raise RequirementsError("the package index gives more than a lock can hold")


def _written_bytes(folder: Path) -> int:
    """Without what goes while we look: uv renames its output from a temporary name."""
    size = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def platform_name(target: Target) -> str:
    """uv's name: the newest glibc that it knows and the target has. Raises RequirementsError."""
    fitting = [minor for minor in KNOWN_GLIBC if (2, minor) <= target.glibc]
    if not fitting:
        raise RequirementsError(
            f"the base image has glibc {target.glibc[0]}.{target.glibc[1]}, but wheels need 2.17"
            " or newer; choose another with --base"
        )
    return f"{target.platform.machine}-manylinux_2_{fitting[-1]}"


def _uv() -> str:
    try:
        import uv

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise RequirementsError(
            "uv is not installed, which finds the versions; pip install 'inferry[registry]'"
        ) from error


def _checked(wanted: Sequence[str]) -> tuple[list[str], dict[str, frozenset[str]]]:
    """The requirements for uv, and the hashes by name that it does not look at."""
    texts: dict[str, None] = {}
    hashes: dict[str, frozenset[str]] = {}
    for requirement in wanted:
        normal = read_requirement(requirement, "requirements")
        if normal is None:
            continue
        text, demanded = split_hashes(normal)
        texts[text] = None
        if demanded:
            name = parse_requirement(text).name
            hashes[name] = hashes.get(name, frozenset()) | demanded
    return sorted(texts), hashes


def _pylock(preferences: Mapping[str, str]) -> str:
    """A lock of the preferred versions: uv keeps those of an output file that is there."""
    lines = ['lock-version = "1.0"', 'created-by = "inferry"']
    for name, version in sorted(preferences.items()):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise RequirementsError(f"{ascii(name)[:60]} is no name of a package")
        lines += ["[[packages]]", f"name = {json.dumps(canonical_name(name))}"]
        lines.append(f"version = {json.dumps(canonical_version(version))}")
    return "\n".join(lines) + "\n"
