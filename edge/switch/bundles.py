"""The bundles that a module's instances serve from the device's disk, each slot with its own link.

<state>/modules/<name>/
  live/<hex>/, live/current -> <hex>     what the live instance serves, read again at a reload
  next/<hex>/, next/current -> <hex>     what is tried beside it
  run/                                   the agent's socket for this module
  capture/                               requests of late, for a shadow run; the module writes it

Files are second names of those in <state>/bundles. The link is renamed into its place, so that it
leads to the old or the new bundle at any moment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edge.hosts.port import Slot
from edge.stock.bundles import copy_bundle
from edge.stock.port import Stock
from registry.proof.unpacking import remove

CURRENT = "current"


class ModuleFolders:
    """Of the module ``name``."""

    def __init__(self, state: Path, name: str, stock: Stock | None) -> None:
        """``stock``: None where only the names are wanted."""
        self.root = state / "modules" / name
        self.run = self.root / "run"
        self.capture = self.root / "capture"
        self._stock = stock

    def make(self) -> None:
        """Raises OSError."""
        for folder in (self.root / "live", self.root / "next", self.run):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        self.capture.mkdir(exist_ok=True)
        self.capture.chmod(0o1777)  # a container's user is none of this machine

    def slot(self, slot: Slot) -> Path:
        """What an instance of the slot gets as its bundle."""
        return self.root / slot

    def put(self, slot: Slot, digest: str) -> None:
        """Bring the bundle of the image into the folder, without serving it. Raises what the stock
        raises, OSError."""
        self.make()
        assert self._stock is not None
        copy_bundle(self._stock.bundle(digest), self.root / slot / _hex(digest))

    def serve(self, slot: Slot, digest: str) -> None:
        """The link leads to it from now on. Idempotent."""
        folder = self.root / slot
        if self.served(slot) == digest:
            return
        fresh = folder / ".current"
        with suppress(FileNotFoundError):
            fresh.unlink()
        os.symlink(_hex(digest), fresh)
        os.replace(fresh, folder / CURRENT)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def served(self, slot: Slot) -> str | None:
        """The image whose bundle the link leads to."""
        try:
            return f"sha256:{os.readlink(self.root / slot / CURRENT)}"
        except OSError:
            return None

    def clean(self, slot: Slot, keep: set[str]) -> None:
        """Remove the bundles of other images."""
        kept = {_hex(digest) for digest in keep}
        folder = self.root / slot
        if not keep:
            with suppress(FileNotFoundError):
                (folder / CURRENT).unlink()
        with suppress(FileNotFoundError):
            for path in folder.iterdir():
                if path.name not in kept and path.name != CURRENT and path.is_dir():
                    remove(path)

    def remove(self) -> None:
        """All of it."""
        remove(self.root)


def kept_names(state: Path) -> set[str]:
    """Modules that have a folder."""
    with suppress(FileNotFoundError):
        found = [path for path in (state / "modules").iterdir() if path.is_dir()]
        return {path.name for path in found if not path.name.startswith(".")}
    return set()


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
