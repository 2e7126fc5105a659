"""What is to be proven of an image, and what was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.container_config import ImageLayer
from registry.platforms import Target
from registry.records import Model

OnLine = Callable[[str], None]
"""A line of the log; may raise CancelledError."""
IsCancelled = Callable[[], bool]
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ProofPlan:
    """An image that lies in the store.

    ``layers`` are all of its layers in order, ``config`` its config as stored. ``python_path`` is
    the Python in it. ``imports`` are modules that must import, ``sample`` is the JSON to score
    (None: one is made, where that is possible). ``target`` is None for a bundle without a base,
    which runs with the packages that are installed here. ``memory_bytes``: None leaves it to the
    memory of this machine."""

    reference: str
    layers: tuple[ImageLayer, ...]
    models: tuple[Model, ...]
    target: Target | None = None
    python_path: str = ""
    config: bytes = b""
    imports: tuple[str, ...] = ()
    sample: bytes | None = None
    timeout_s: float = TIMEOUT_S
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """``how`` it was proven and a line about it; ``report`` is what scoring/selftest printed."""

    how: Literal["container", "process", "none"]
    detail: str
    report: Mapping[str, Any] | None = None
