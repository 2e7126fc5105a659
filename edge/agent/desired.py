"""Whether a desired state that came in is to be followed. Pure: bytes in, a decision out."""

from __future__ import annotations

import re
from collections import Counter

from edge.errors import InvalidMessageError
from edge.layering import port_conflict
from edge.messages.codec import decode
from edge.messages.desired import Desired, Module, Window

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
MAX_MODULES = 256


def consider(payload: bytes, device: str, known_version: int) -> Desired | None:
    """What shall be followed from now on. None: it is older than, or the same as, what is known.
    Raises InvalidMessageError; then what was followed before goes on."""
    desired = decode(payload, Desired)
    if desired.device != device:
        raise InvalidMessageError(f"a desired state of the device {desired.device[:64]!a}")
    if desired.version <= known_version:
        return None
    check(desired)
    return desired


def check(desired: Desired) -> None:
    """Raises InvalidMessageError, naming the module."""
    if desired.version < 1 or len(desired.modules) > MAX_MODULES:
        raise InvalidMessageError(f"a desired state has a version, and up to {MAX_MODULES} modules")
    for module in desired.modules:
        check_module(module)
    names = Counter(module.name for module in desired.modules)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise InvalidMessageError(f"two modules have the name {twice[0]}")
    if conflict := port_conflict(desired.modules):
        raise InvalidMessageError(conflict)
    _check_windows("settings", desired.settings.pull_windows)


def check_module(module: Module) -> None:
    """A name becomes a folder, and a digest a file, so neither may be just anything."""
    if not _NAME.fullmatch(module.name) or ".." in module.name:
        raise InvalidMessageError(f"{module.name[:64]!a} cannot name a module")
    probe, restart, update, limits = module.probe, module.restart, module.update, module.limits
    problems = {
        "digest": not _DIGEST.fullmatch(module.digest),
        "port": module.port is not None and not 1 <= module.port <= 65_535,
        "env": not all(_ENV.fullmatch(k) and "\0" not in v for k, v in module.env.items()),
        "args": any("\0" in argument for argument in module.args),
        "probe.path": not re.fullmatch(r"/[\x21-\x7e]{0,1023}", probe.path),
        "probe": min(probe.interval_s, probe.timeout_s, probe.failures) <= 0 or probe.start_s < 0,
        "restart": not 0 < restart.backoff_s <= restart.max_backoff_s or restart.reset_after_s < 0,
        "update": min(update.start_s, update.watch_s, update.shadow_s) < 0 or update.start_s == 0,
        "update.shadow_agreement": not 0 <= update.shadow_agreement <= 1,
        "limits": any(
            value is not None and value <= 0
            for value in (limits.memory_bytes, limits.cpus, limits.processes)
        ),
    }
    wrong = [key for key, is_wrong in problems.items() if is_wrong]
    if wrong:
        raise InvalidMessageError(f"module {module.name}: {wrong[0]} is not one that can be")
    _check_windows(f"module {module.name}", update.windows)


def _check_windows(where: str, windows: tuple[Window, ...]) -> None:
    for window in windows:
        if not (0 <= window.start <= 1440 and 0 <= window.end <= 1440):
            raise InvalidMessageError(f"{where}: a window is in minutes of a day, 0 to 1440")
