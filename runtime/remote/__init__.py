"""A workspace behind a URL: the service (runtime/workspace_service) as a program elsewhere has it.

    workspace = RemoteWorkspace("https://models.example.com")
    workspace.models.get("digits")         # as of registry.Workspace

place.py       what a URL means
logins.py      the tokens that this user has, by URL
client.py      requests: encoding, errors, what is tried again
transfers.py   files up and down, resumed where they were cut
workspace.py   the whole, with the attributes of registry.Workspace
models.py, images.py, ...   each attribute's methods, with the signatures of its class
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.remote.place import Place, is_url, parse_place

if TYPE_CHECKING:
    from runtime.remote.workspace import RemoteWorkspace

__all__ = ["Place", "RemoteWorkspace", "is_url", "parse_place"]


def __getattr__(name: str) -> Any:
    """A training script that only wants to know what a URL means does not load all the routes."""
    if name == "RemoteWorkspace":
        from runtime.remote.workspace import RemoteWorkspace

        return RemoteWorkspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
