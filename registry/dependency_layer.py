"""The Python packages of an image: which, in which versions, as one layer.

A lock is remembered for what it was made from, so that the next image of the same requirements has
the same packages, without asking an index; and the layer for its lock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from registry import bytecode, dependencies
from registry.blobs import BlobStore
from registry.build_log import Progress
from registry.checksum import sealed, unsealed
from registry.clock import Clock
from registry.container_config import ImageLayer
from registry.database import Database
from registry.dependencies import Lock, Wanted, WheelCache
from registry.dependencies.requirements import split_hashes
from registry.dependencies.standards import parse_requirement
from registry.errors import RequirementsError
from registry.image_tree import PACKAGES_ROOT
from registry.layer_cache import DatabaseLayerCache
from registry.layers import is_stored, write_layer
from registry.paths import WorkspacePaths
from registry.platforms import Target
from registry.server_files import server_digest, server_folder, server_imports

FORM = "1"
"""Of the layer: another one when the same wheels are laid out in another way."""


@dataclass(frozen=True, slots=True)
class Packages:
    """The locked packages, their layer, the files of their wheels that are at hand, and the modules
    of those packages that were asked for, as far as their wheels are."""

    lock: Lock
    layer: ImageLayer
    wheels: tuple[Path, ...]
    modules: tuple[str, ...]


class PackageLayers:
    """Makes and remembers the layers of one workspace."""

    def __init__(self, paths: WorkspacePaths, database: Database, clock: Clock) -> None:
        self._paths = paths
        self._database = database
        self._clock = clock
        self._layers = DatabaseLayerCache(database)

    def lock(
        self,
        wanted: Wanted | None,
        target: Target,
        *,
        has_script: bool,
        wheelhouse: Path | None,
        relock: bool,
        progress: Progress,
    ) -> Lock:
        """The versions of all packages. Without requirements, a script gets what the server and
        onnxruntime need. Raises RequirementsError."""
        asked = [] if wanted is None else list(wanted.requirements)
        server = dependencies.server_requirements(
            has_script=has_script, has_onnx=not has_script or wanted is None
        )
        pins = dependencies.server_pins()
        key = _key(sorted(asked), sorted(server), str(target), pins, _wheels_in(wheelhouse))
        known = None if relock else self._find_lock(key)
        if known is not None:
            progress.log(f"packages: {len(known.wheels)} as locked before")
            return known
        progress.phase("Resolving")
        lock = dependencies.resolve(
            [*asked, *server],
            target,
            preferences=pins,
            wheelhouse=wheelhouse,
            cancelled=progress.check,
            conda_names=() if wanted is None else wanted.conda_names,
            say=progress.log,
        )
        self._add_lock(key, lock)
        progress.log(f"packages: locked {len(lock.wheels)} for {target}")
        return lock

    def layer(
        self,
        lock: Lock,
        wanted: Wanted | None,
        python_path: str,
        store: BlobStore,
        progress: Progress,
    ) -> Packages:
        """The layer, written only when no layer of the same lock is in the store."""
        cache = WheelCache(self._paths.wheels)
        asked = () if wanted is None else tuple(sorted(map(_name, wanted.requirements)))
        is_compiled = bytecode.can_compile(lock.target.python)
        imported = self._server_imports() if is_compiled else None
        key = _key("packages", FORM, lock.digest, python_path, asked, imported)
        known = self._layers.find_built(key)
        title = f"{len(lock.wheels)} Python packages"
        if known is not None and is_stored(store, known):
            present = cache.present(lock)
            return Packages(
                lock, ImageLayer(known, "dependencies", title), present, _modules(present, asked)
            )
        progress.phase("Downloading", sum(wheel.size_bytes or 0 for wheel in lock.wheels))
        wheels = cache.fetch(lock.wheels, progress.advance, progress.check)
        modules = _modules(wheels, asked)
        entries = dependencies.wheel_entries(wheels, python_path)
        if imported is not None:
            entries += bytecode.compiled(
                entries, PACKAGES_ROOT, imported=frozenset(imported), whole=frozenset(modules)
            )
        else:
            progress.log("packages: not compiled, since this is another Python; starts are slower")
        progress.phase("Packing", sum(entry.size_bytes for entry in entries))
        layer = write_layer(store, entries, progress.advance, compress=True)
        self._layers.add_built(key, layer)
        return Packages(lock, ImageLayer(layer, "dependencies", title), tuple(wheels), modules)

    def _server_imports(self) -> list[str]:
        """What the server imports, sorted; remembered, since to parse all of it takes 0.25 s."""
        folder = server_folder()
        server = server_digest(folder)
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT modules FROM server_imports WHERE server = ?", (server,)
            ).fetchone()
        if row is not None:
            return str(row["modules"]).split()
        found = sorted(filter(None, server_imports(folder)))
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO server_imports VALUES (?, ?)", (server, " ".join(found))
            )
        return found

    def _find_lock(self, key: str) -> Lock | None:
        with self._database.read() as connection:
            row = connection.execute("SELECT document FROM locks WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        document = unsealed(row["document"], key)
        if document is None:  # to lock anew unasked could give other versions
            raise RequirementsError("the stored lock is damaged; lock anew with --relock")
        return Lock.from_json(document)

    def _add_lock(self, key: str, lock: Lock) -> None:
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO locks VALUES (?, ?, ?)",
                (key, sealed(lock.to_json(), key), self._clock()),
            )


def _modules(wheels: Sequence[Path], asked: Collection[str]) -> tuple[str, ...]:
    """What can be imported of the packages that were asked for."""
    found = dependencies.top_level_modules(wheels) if asked else {}
    return tuple(module for name in asked for module in found.get(name, ()))


def _name(requirement: str) -> str:
    return parse_requirement(split_hashes(requirement)[0]).name


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _wheels_in(wheelhouse: Path | None) -> tuple[str, list[tuple[str, str]]] | None:
    """A folder of wheels as far as it decides what is locked and where that is fetched. Raises
    RequirementsError."""
    if wheelhouse is None:
        return None
    if not wheelhouse.is_dir():
        raise RequirementsError(f"the wheelhouse '{wheelhouse}' is no folder")
    try:
        found = [(path.name, _sha256(path)) for path in wheelhouse.glob("*.whl")]
    except OSError as error:
        raise RequirementsError(f"cannot read '{wheelhouse}': {error.strerror}") from error
    return str(wheelhouse.resolve()), sorted(found)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
