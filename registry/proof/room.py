"""A place in which a process finds what a container would: the bundle read-only, the packages and
the server on its path, the right Python, and nothing of the one who proves it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from registry.blobs import BlobStore, disk_errors_said
from registry.bundle_file import model_path
from registry.image_tree import BUNDLE_ROOT, PACKAGES_ROOT, SCRIPTS_ROOT, SERVER_ROOT
from registry.layers import Layer
from registry.proof.unpacking import protect, unpack
from registry.records import Model

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def put_bundle(
    store: BlobStore,
    code: Sequence[Layer],
    models: Sequence[Model],
    room: Path,
    check: Callable[[], None],
) -> Path:
    """The bundle in ``room``. Files of models are the store's own, linked: they are read-only."""
    bundle = room / BUNDLE_ROOT
    for layer in code:
        unpack(store, layer, room, check)
    with disk_errors_said():
        for model in models:
            for file in model.files:
                target = bundle / model_path(model) / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(store.paths.blob(file.digest), target)
        protect(bundle)
    return bundle


def put_python(python: Path, room: Path) -> Path:
    """An interpreter that has no packages but the standard library's, and whose children have none
    either: an empty virtual environment."""
    folder = room / "python"
    (folder / "bin").mkdir(parents=True)
    version = "include-system-site-packages = false\n"
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\n{version}")
    own = folder / "bin" / "python3"
    own.symlink_to(python)
    return own


def environment(room: Path, trees: Sequence[Path]) -> dict[str, str]:
    """As a container's, with a home and a place for temporary files that go with ``room``.
    ``trees`` are the unpacked layers of the server and of the packages."""
    for name in ("home", "tmp"):
        (room / name).mkdir()
    path = [SYSTEM_PATH, *(str(tree / SCRIPTS_ROOT) for tree in trees)]
    python_path = [str(tree / root) for root in (SERVER_ROOT, PACKAGES_ROOT) for tree in trees]
    return {
        "HOME": str(room / "home"),
        "LANG": "C.UTF-8",
        "ORT_DISABLE_TELEMETRY": "1",
        "PATH": ":".join(path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": ":".join(python_path),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(room / "tmp"),
    }


def own_environment(room: Path) -> dict[str, str]:
    """For what runs with the packages that are installed here."""
    found = environment(room, ())
    del found["PYTHONPATH"]
    own = os.environ.get("PYTHONPATH")
    return found if own is None else {**found, "PYTHONPATH": own}


def _link(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(blob, target)
        os.chmod(target, 0o444)
