"""The one frozen configuration of a scoring server, built once in main() and passed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for."""

    body_bytes: int = 100 * MIB
    """Largest request body, as the nginx in Azure's images (serving.md 2.7); more is a 413."""
    body_grace_s: float = 30.0
    """How long a body may take, plus 1 s for each ``body_bytes_per_s`` of it; more is a 408."""
    body_bytes_per_s: int = 10_000
    idle_s: float = 75.0
    """How long a connection may lie idle between two requests."""
    write_s: float = 60.0
    """How long a client may leave its answers unread."""
    queue: int = 1000
    """Requests that may wait in each server process; more are refused with 429."""
    deadline_ms: float | None = None
    """Deadline of a request that names none; None: it may take as long as it takes."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How requests share a run of the model."""

    max_batch: int | None = None
    """Most rows of a merged batch; 1 switches merging off. None: what the bundle says, else 64."""
    split_oversize: bool = False
    """Whether one request of more rows than that may run in several pieces."""


@dataclass(frozen=True, slots=True)
class Watching:
    """What an operator may look at: none of it is on by default."""

    access_log: Literal["text", "json"] | None = None
    """A line for each scoring request: the reference server's, or a JSON object."""
    triton_metrics: bool = False
    """nv_inference_* names on /metrics as well."""
    tracing: bool = False
    """OpenTelemetry spans, sent where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    capture: Path | None = None
    """File of JSON lines with inputs and outputs."""
    capture_share: float = 1.0
    capture_bytes: int = 100 * MIB
    shadow: Path | None = None
    """A second model (file, folder or bundle) that gets a share of the requests too."""
    shadow_share: float = 1.0


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """All settings of one scoring server."""

    what: Path
    """An .onnx file, a model folder or a bundle folder."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free port; the line "Listening on" says which."""
    health_port: int | None = None
    """A second port for the same routes (Azure's SEPERATE_HEALTH_ENDPOINT)."""
    processes: int | None = None
    """Server processes; None: one for each CPU for a model, one for a script."""
    workers: int | None = None
    """Script workers, all processes together (default 1)."""
    threads: int | None = None
    """onnxruntime threads of each process; None: the CPUs shared out."""
    drain_s: float = 30.0
    """How long requests in flight may take after SIGTERM."""
    server_name: str = "inferry"
    """What /v2 calls this server; some clients look for "triton"."""
    server_version: str | None = None
    """Value of x-ms-server-version on a script's answers; None leaves the header out."""
    cors_origins: str | None = None
    limits: Limits = field(default_factory=Limits)
    batching: Batching = field(default_factory=Batching)
    watching: Watching = field(default_factory=Watching)
