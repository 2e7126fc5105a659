"""What the registry knows of a datastore: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.datastores.settings import Kind


@dataclass(frozen=True, slots=True)
class Datastore:
    """A named place for files. ``secrets`` are the names of what is sealed, never the values;
    ``users`` are those that would miss it."""

    name: str
    kind: Kind
    settings: Mapping[str, str]
    is_default: bool
    attached_at: str
    secrets: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
