"""A workspace behind a URL, with the attributes of registry.Workspace.

What needs the workspace's folder itself (``root``) is refused in one line: it is run where the
folder is.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from runtime.errors import BadValueError
from runtime.remote.client import ServiceClient
from runtime.remote.models import RemoteAliases, RemoteModels


class RemoteWorkspace:
    """``url``: see place.py. Nothing is asked before it is needed."""

    def __init__(self, url: str, *, client: ServiceClient | None = None) -> None:
        self.client = ServiceClient.of_user(url, os.environ) if client is None else client

    def __repr__(self) -> str:
        return f"RemoteWorkspace({str(self.client.place)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()

    @property
    def root(self) -> Path:
        """There is none here. Raises BadValueError."""
        self._is_elsewhere()

    @cached_property
    def models(self) -> RemoteModels:
        """As Workspace.models."""
        return RemoteModels(self.client)

    @cached_property
    def aliases(self) -> RemoteAliases:
        """As Workspace.aliases."""
        return RemoteAliases(self.client)

    def _is_elsewhere(self) -> NoReturn:
        raise BadValueError(
            "this needs the workspace's own folder: run it on the machine of the service, with"
            " --workspace FOLDER"
        )
