"""The one frozen configuration of a scoring server, built once in main() and passed down."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for."""

    body_bytes: int = 100 * MIB
    """Largest request body, as the nginx in Azure's images (serving.md 2.7); more is a 413."""
    body_grace_s: float = 30.0
    """How long a body may take, plus 1 s for each ``body_bytes_per_s`` of it; more is a 408."""
    body_bytes_per_s: int = 10_000
    queue: int = 1000
    """Requests that may wait; more are refused with 429."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All settings of one server process."""

    what: Path
    """An .onnx file, a model folder or a bundle folder."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free port; the line "Listening on" says which."""
    health_port: int | None = None
    """A second port for the same routes (Azure's SEPERATE_HEALTH_ENDPOINT)."""
    workers: int | None = None
    """Script workers (default 1), or threads of a model without a script (default: the cores)."""
    drain_s: float = 30.0
    """How long requests in flight may take after SIGTERM."""
    access_log: bool = False
    server_version: str | None = None
    """Value of x-ms-server-version on a script's answers; None leaves the header out."""
    cors_origins: str | None = None
    limits: Limits = field(default_factory=Limits)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
