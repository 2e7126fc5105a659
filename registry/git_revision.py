"""The commit that an image's code comes from, if it lies in a git repository."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from registry.errors import InvalidNameError

_REVISION = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
TIMEOUT_S = 5.0


def check_revision(text: str) -> str:
    """``text`` itself, which someone says is a commit. Raises InvalidNameError."""
    if not _REVISION.fullmatch(text):
        raise InvalidNameError("the revision is no commit: 40 or 64 of 0-9 a-f")
    return text


def git_revision(folder: Path) -> str | None:
    """The commit that is checked out at ``folder``, or None: no repository, no commit or no git.

    Only ``rev-parse`` is asked, which runs nothing that the repository's own configuration names;
    whether files were changed since the commit is therefore not known."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.decode("ascii", "replace").strip()
    return text if done.returncode == 0 and _REVISION.fullmatch(text) else None
