"""What is wanted of a submission beside its files, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry.tracking import RunRecord


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the run is to be called. ``parent``: an id."""

    experiment: str
    name: str = ""
    parent: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who hears what, on the thread that submits: lines of the script, the run as soon as there is
    one, and phases with bytes done and in all (0: nobody knows)."""

    line: Callable[[str], None] = lambda line: None
    begin: Callable[[RunRecord], None] = lambda run: None
    phase: Callable[[str, int, int], None] = lambda phase, done, total: None
    note: Callable[[str], None] = lambda line: None
