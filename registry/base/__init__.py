"""The base of an image: read from a registry, the Docker Engine, an OCI layout or a tar, checked,
and kept in the store.

base = load_base("python:3.11-slim", Platform(), store, on_bytes=on_bytes, pull=pull_image,
                 engine=connect)
base.layers, base.python.path, base.target
"""

from registry.base.image import BaseImage, BasePython
from registry.base.loading import Connect, PullRegistry, load_base
from registry.base.reference import cache_key, parse_base

__all__ = [
    "BaseImage",
    "BasePython",
    "Connect",
    "PullRegistry",
    "cache_key",
    "load_base",
    "parse_base",
]
