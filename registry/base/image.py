"""What is known of a base image after it was read once; kept as JSON in the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from registry.layers import Layer
from registry.platforms import Platform, Target, parse_platform


@dataclass(frozen=True, slots=True)
class BasePython:
    """The Python of a base: ``path`` as a container calls it, ``version`` as (3, 11)."""

    path: str
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base whose layers are all in the store, from the lowest up. ``digest`` is that of its
    manifest; of the Docker Engine, its image's id; of a root file system, its plain tar's."""

    reference: str
    digest: str
    platform: Platform
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]
    python: BasePython
    glibc: tuple[int, int]

    @property
    def target(self) -> Target:
        """What its wheels are made for."""
        return Target(self.platform, self.python.version, self.glibc)

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(
            {
                "reference": self.reference,
                "digest": self.digest,
                "platform": str(self.platform),
                "layers": [
                    [layer.digest, layer.size_bytes, layer.diff_id, layer.media_type]
                    for layer in self.layers
                ],
                "config": self.config,
                "python": [self.python.path, *self.python.version],
                "glibc": self.glibc,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> BaseImage:
        """What ``to_json`` wrote."""
        read = json.loads(text)
        path, *version = read["python"]
        return cls(
            read["reference"],
            read["digest"],
            parse_platform(read["platform"]),
            tuple(Layer(*layer) for layer in read["layers"]),
            read["config"],
            BasePython(path, (version[0], version[1])),
            (read["glibc"][0], read["glibc"][1]),
        )
