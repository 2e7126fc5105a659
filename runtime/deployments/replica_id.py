"""The names of replicas: ``<deployment>.<revision>.<something random>``, made and parsed here."""

from __future__ import annotations

import re

_ID = re.compile(r"(?P<deployment>[a-z0-9-]+)\.(?P<revision>[1-9][0-9]{0,8})\.(?P<tail>[a-z0-9]+)")


def replica_id(deployment: str, revision: int, tail: str) -> str:
    """Of a new one."""
    return f"{deployment}.{revision}.{tail}"


def revision_of(deployment: str, module: str) -> int | None:
    """Of a replica's id; None where it is another deployment's."""
    found = _ID.fullmatch(module)
    if found is None or found["deployment"] != deployment:
        return None
    return int(found["revision"])
