"""What someone asks of an image, before any of it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOrder:
    """A container or bundle; the fields are those of ``Images.create``, which says what they mean.
    None is the default of the workspace or the machine."""

    name: str
    models: Sequence[str]
    script: Path | None
    source: Path | None
    requirements: Path | None
    conda: Path | None
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str
    max_batch: int | None
    base: str | None
    platform: str | None
    dockerfile: Path | None
    wheelhouse: Path | None
    sample: Path | None
    golden: Path | None = None
    pull: bool
    relock: bool
    proof: bool
    revision: str | None = None
    """The commit of the code, where its folder is in no repository."""
    only_public: bool = False
    """Whether the base's registry must be at a public address."""
    base_said: str | None = None
    """What records call a base whose file is only there for a moment."""
