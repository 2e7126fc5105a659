"""The port to where scripts run: a folder there, and programs that work in it
(runtime/submitted/). On this machine (local.py), in a container (docker.py), over SSH (ssh.py)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

Chunks = Iterable[bytes]


class Stream(Protocol):
    """A program there: its standard input and output."""

    def read(self) -> bytes:
        """More of its output; nothing at the end, however it came. Raises nothing."""
        ...

    def write(self, data: bytes) -> None:
        """To its input. Raises LostError."""
        ...

    def close(self) -> None:
        """From any thread; ``read`` then ends. A second time does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Traits:
    """What an order must know of the place. ``python``: where the configuration names none; "": the
    one of Inferry, or of the PATH. ``cache``: folder for environments. ``key``: of what they depend
    on. ``launcher``: what starts the script, with {work} for the folder; empty: Python itself.
    ``is_attached``: the run ends with this process. ``waits``: until all was fetched; ``removes``:
    and removes the folder then. ``is_open``: any user there may write. ``workspace``: its folder,
    where the script can reach it. ``top``: the folder that everything in the tar is in."""

    python: str = ""
    cache: str = "~/.cache/inferry/environments"
    key: str = ""
    launcher: tuple[str, ...] = ()
    is_attached: bool = False
    waits: bool = False
    removes: bool = False
    is_open: bool = False
    is_spark: bool = False
    workspace: str = ""
    top: str = ""


class Place(Protocol):
    """Where one run is. Methods raise PlaceError where it cannot be, and LostError."""

    traits: Traits

    def put(self, chunks: Chunks) -> None:
        """Make the folder of this tar."""
        ...

    def start(self) -> None:
        """Begin ``agent.py run``."""
        ...

    def follow(self) -> Stream:
        """Begin ``agent.py follow``; again after a stream has ended."""
        ...

    def gone(self) -> str | None:
        """Why the place is gone for good; None: it is there, or nobody knows."""
        ...

    def remove(self) -> None:
        """End what is left and remove the folder, as far as that can be. Raises nothing."""
        ...

    def close(self) -> None:
        """Its connections. Raises nothing."""
        ...
