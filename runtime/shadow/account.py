"""As whom the mirror runs, and with which environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import runtime


def may_run(ids: tuple[int, int]) -> bool:
    """Whether that user can reach Python and this program."""
    python, here = Path(sys.executable).absolute(), Path(runtime.__file__).resolve()
    places = {*python.parents, *python.resolve().parents, python.resolve(), *here.parents}
    return all(may_pass(place, ids) for place in places)


def may_pass(place: Path, ids: tuple[int, int]) -> bool:
    """Whether that user and group may enter a folder, or run a file."""
    found = place.stat()
    if found.st_uid == ids[0]:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == ids[1] else 0o001))


def environment() -> dict[str, str]:
    """Nothing of the controller's but where programs and packages are."""
    kept = ("PATH", "PYTHONPATH", "LANG", "TZ")
    own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {name: os.environ[name] for name in kept if name in os.environ} | own
