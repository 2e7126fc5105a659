"""The Python packages of an image: from a requirements or conda file to the files of its layer.

wanted = read_requirements(text)
lock = resolve([*wanted.requirements, *server_requirements(True, True)], target)
wheels = WheelCache(folder).fetch(lock.wheels)
write_layer(store, wheel_entries(wheels, "/usr/local/bin/python3"), on_bytes, compress=True)
"""

from __future__ import annotations

from registry.dependencies.conda import read_conda
from registry.dependencies.lock import Lock, LockedWheel
from registry.dependencies.requirements import Wanted, read_requirements
from registry.dependencies.resolver import resolve
from registry.dependencies.server import server_pins, server_requirements
from registry.dependencies.unpacking import top_level_modules, wheel_entries
from registry.dependencies.wheels import WheelCache

__all__ = [
    "Lock",
    "LockedWheel",
    "Wanted",
    "WheelCache",
    "read_conda",
    "read_requirements",
    "resolve",
    "server_pins",
    "server_requirements",
    "top_level_modules",
    "wheel_entries",
]
