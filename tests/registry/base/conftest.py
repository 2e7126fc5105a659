"""A store, and the loading of a base into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registry import Workspace
from registry.base import BaseImage, load_base
from registry.blobs import BlobStore
from registry.paths import WorkspacePaths
from registry.platforms import Platform

Load = Callable[..., BaseImage]


@pytest.fixture
def store(workspace: Workspace, tmp_path: Path) -> BlobStore:
    """The store of a new workspace."""
    del workspace
    return BlobStore(WorkspacePaths(tmp_path / "ws"))


@pytest.fixture
def load(store: BlobStore) -> Load:
    """``load(reference, architecture)``, without registry and engine."""

    def loaded(reference: object, architecture: str = "amd64") -> BaseImage:
        platform = Platform("arm64" if architecture == "arm64" else "amd64")
        return load_base(str(reference), platform, store, on_bytes=lambda size: None)

    return loaded
