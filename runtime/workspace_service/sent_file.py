"""A file that a client has sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SentFile:
    """Where it lies in what it is part of, and its bytes, which were uploaded before."""

    path: str
    digest: str
    is_executable: bool = False
