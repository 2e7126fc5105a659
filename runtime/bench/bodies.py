"""The bodies that a load test sends: from a file or folder, or made from what an image says.

bodies = read_bodies(Path("digits.jsonl"))       # one body a line
bodies = known_bodies(workspace, digest)         # golden inputs, else zeros
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from edge.errors import EdgeError
from edge.stock.bundles import read_golden as stored_golden
from edge.stock.documents import read_manifest, stored_image
from edge.switch.golden import made_from_signature, read_golden
from edge.switch.scoring import body_of
from registry import Workspace
from registry.blobs import BlobStore
from registry.errors import RegistryError
from registry.paths import WorkspacePaths
from registry.records import Image
from runtime.errors import BadValueError

MOST_BODIES = 10_000
MOST_BYTES = 256 << 20
LINES = (".jsonl", ".ndjson")


def read_bodies(path: Path) -> tuple[bytes, ...]:
    """A file is one body; one that ends with .jsonl or .ndjson has one in each line; a folder has
    one in each of its files, in the order of their names. Raises BadValueError, OSError."""
    if path.is_dir():
        found = [each for each in sorted(path.iterdir()) if each.is_file()]
        found = [each for each in found if not each.name.startswith(".")]
        _check_count(len(found), path)
        _check_size(sum(each.stat().st_size for each in found), path)
        return _checked([each.read_bytes() for each in found], path)
    _check_size(path.stat().st_size, path)
    return split_bodies(path.read_bytes(), path, has_lines=path.suffix.lower() in LINES)


def split_bodies(data: bytes, what: object, *, has_lines: bool) -> tuple[bytes, ...]:
    """``data`` as one body, or one in each line that is not empty. Raises BadValueError."""
    if not has_lines:
        return _checked([data], what)
    lines = [line.strip() for line in data.split(b"\n")]
    return _checked([line for line in lines if line], what)


def known_bodies(workspace: Workspace, digest: str) -> tuple[tuple[bytes, ...], str]:
    """Bodies that this image takes, and what they are: its golden inputs, else zeros by its model's
    signature. Raises BadValueError where nobody says what it takes, as of a script."""
    try:
        blobs = BlobStore(WorkspacePaths(workspace.root))
        manifest = read_manifest(blobs.read(digest))
        found = stored_golden(
            blobs, stored_image(digest, manifest, blobs.read(manifest.config.digest))
        )
        if found is not None:
            cases = read_golden(found).cases[:MOST_BODIES]
            return tuple(body_of(case.input) for case in cases), "its image's golden inputs"
        [image] = [each for each in workspace.images.list() if each.digest == digest][:1]
        made = made_from_signature(_as_bundle(workspace, image))
    except (EdgeError, RegistryError, ValueError) as error:
        raise BadValueError(f"its image cannot be read: {error}; give --data") from error
    if made is None:
        raise BadValueError(
            "its image does not say what it takes (it has no golden inputs, and its engine is no"
            " model's); give --data"
        )
    return tuple(body_of(case.input) for case in made.cases), "zeros by its model's signature"


def _as_bundle(workspace: Workspace, image: Image) -> bytes:
    """What bundle.json says of signatures, without unpacking it."""
    models = [workspace.models.get(each) for each in image.models]
    found = [{"signature": model.signature} for model in models]
    return msgspec.json.encode({"engine": image.engine, "models": found})


def is_json(bodies: tuple[bytes, ...]) -> bool:
    """Whether the first of them is; the others are as it is."""
    try:
        json.loads(bodies[0])
    except (ValueError, RecursionError):
        return False
    return True


def _checked(bodies: list[bytes], what: object) -> tuple[bytes, ...]:
    _check_count(len(bodies), what)
    _check_size(sum(map(len, bodies)), what)
    if not all(bodies):
        raise BadValueError(f"{what} is empty, or has a file that is: a request needs a body")
    return tuple(bodies)


def _check_count(count: int, what: object) -> None:
    if not 1 <= count <= MOST_BODIES:
        raise BadValueError(f"{what} has {count} bodies; 1 to {MOST_BODIES} can be sent")


def _check_size(size_bytes: int, what: object) -> None:
    if size_bytes > MOST_BYTES:
        raise BadValueError(f"{what} has more than {MOST_BYTES >> 20} MiB; send fewer bodies")
