"""Whether a container engine is there to try an image in."""

from __future__ import annotations

import os
from pathlib import Path

from registry.docker_engine import DockerEngine, connect
from registry.errors import EngineError

SOCKET = Path("/var/run/docker.sock")


def engine_at_hand() -> DockerEngine | None:
    """The engine, or None. Where nothing says that there is one, the SDK is not even loaded, which
    takes a quarter of a second."""
    if not os.environ.get("DOCKER_HOST") and not SOCKET.exists():
        return None
    try:
        return connect()
    except EngineError:
        return None
