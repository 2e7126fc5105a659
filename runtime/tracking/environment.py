"""What a run was started with: Python, the machine and the packages, as one JSON document.

Packages are read off the names of their folders, which takes milliseconds where reading each one's
metadata takes a second.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_DIST = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[0-9.]+)?\.(?:dist|egg)-info")


def environment() -> str:
    """Of this process."""
    return json.dumps(
        {
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": platform.platform(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "packages": freeze(sys.path),
        },
        separators=(",", ":"),
    )


def freeze(paths: Iterable[str]) -> list[str]:
    """``name==version`` of all that is installed in these folders, sorted; of two with one name the
    first counts, as for import."""
    found: dict[str, str] = {}
    for path in paths:
        with suppress(OSError), os.scandir(path or ".") as entries:
            for entry in entries:
                match = _DIST.fullmatch(entry.name)
                if match:
                    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
                    found.setdefault(name, f"{name}=={match['version']}")
    return sorted(found.values())


def user() -> str:
    """Who runs this process."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(os.getuid())


def source() -> str:
    """The name of the script, without its folder."""
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-", "-c") else ""
    return (name or "interactive").encode("ascii", "backslashreplace").decode()[:256]


def script_folder() -> Path:
    """Where the script lies."""
    with suppress(OSError, ValueError):
        if sys.argv and Path(sys.argv[0]).is_file():
            return Path(sys.argv[0]).resolve().parent
    return Path.cwd()
