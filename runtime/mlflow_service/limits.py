"""What one workspace takes from MLflow's clients at once, with every default and unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client can make the service hold, read or keep."""

    json_bytes: int = 4 * 1024 * 1024
    """Of a request that is no upload. MLflow's own batches have one MB at most."""
    upload_bytes: int = 16 * 1024**3
    """Of one artifact."""
    spare_bytes: int = 256 * 1024**2
    """What uploads leave free on the disk."""
    large_uploads: int = 8
    """Uploads of over ``small_bytes`` at the same time; one more is asked to come back."""
    small_bytes: int = 1024 * 1024
    """An upload that is held in memory until all of it has come."""
    small_uploads: int = 64
    """Uploads of at most that, at the same time."""
    downloads: int = 64
    """At the same time."""
    stall_s: float = 120.0
    """How long one MB of an upload may take."""
    threads: int = 8
    """What looks at the database or the disk."""
    waiting: int = 4096
    """Requests that wait for a thread, or for what they log to be written."""
