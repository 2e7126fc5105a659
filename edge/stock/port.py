"""What the agent needs of the device's store of images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

ImageKind = Literal["container", "bundle", "fpga"]


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """``kind``: base, dependencies, server, code, model (container_config.LAYER_KIND), or "" ;
    ``diff_id``: digest of the plain tar, "" for a file of an FPGA artifact."""

    digest: str
    size_bytes: int
    media_type: str
    kind: str
    diff_id: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A whole image of the store. ``name`` and ``version``: what its annotations say, if they do;
    ``config``: of a container, its bytes and digest."""

    digest: str
    kind: ImageKind
    name: str
    version: int | None
    layers: tuple[StoredLayer, ...]
    config: bytes
    config_digest: str
    python_path: str | None


@dataclass(frozen=True, slots=True)
class Collected:
    """What was freed."""

    images: int
    size_bytes: int


class Stock(Protocol):
    """Errors: NotFoundError for an image that is not whole here, PullError (damage, full disk)."""

    def has(self, digest: str) -> bool:
        """Whether the image of this manifest is here, whole, and was found right when fetched."""
        ...

    def image(self, digest: str) -> StoredImage:
        """What it consists of. Raises NotFoundError."""
        ...

    def chunks(self, digest: str) -> Iterator[bytes]:
        """A blob; raises PullError at its end when it is damaged."""
        ...

    def bundle(self, digest: str) -> Path:
        """The bundle folder of the image, unpacked once and kept, owned by root, readable by all.
        Idempotent, and whole or not there after a power cut."""
        ...

    def golden(self, digest: str) -> bytes | None:
        """golden.json of its bundle, without unpacking more than that."""
        ...

    def collect(self, keep: Collection[str], wanted_bytes: int) -> Collected:
        """Remove other images than ``keep``, the least recently used first, until ``wanted_bytes``
        are free above the reserve, or none is left."""
        ...


class Puller(Protocol):
    """Brings images into the stock."""

    def pull(
        self,
        image: str,
        digest: str,
        *,
        keep: Callable[[], Collection[str]],
        on_progress: Callable[[int, int], None],
        is_cancelled: Callable[[], bool],
    ) -> StoredImage:
        """The image, whole, verified and signed by a trusted key; what is here is not fetched, and
        what a former attempt left is continued. ``image``: repository and version for people
        ("digits:3"). ``keep``: digests that must not be removed to make room, asked when room is
        made: a pull may take hours. ``on_progress``:
        bytes done, and in all. Raises PullError (``is_temporary``: the network), NoSpaceError,
        UntrustedError, and CancelledError of edge.pull when ``is_cancelled``. Never waits for ever:
        a stuck connection is a temporary error."""
        ...
