"""Images behind a registry that minds Range, counts what it sends and can be cut; and pullers whose
waits take no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.pull.puller import RegistryPuller
from edge.stock.device_stock import DeviceStock
from edge.stock.port import StoredImage
from registry import media_types
from registry.blobs import BlobStore
from registry.container_config import encoded
from registry.remote.documents import parse_document
from registry.remote.referrers import described
from registry.remote.waits import Timeouts
from tests.edge.stock.signed_images import KEY, Published
from tests.registry.remote.hostile_registry import Exchange, HostileRegistry

SHORT = Timeouts(connect_s=2.0, read_s=0.3, answer_s=0.6)
PIECE_BYTES = 16 * 1024


@dataclass
class Served:
    """What a registry has. ``sent``: bytes of blobs by digest. ``cut_after``: an answer ends after
    so many bytes of a blob."""

    registry: HostileRegistry
    store: BlobStore
    sent: dict[str, int] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    cut_after: int | None = None
    minds_range: bool = True
    referrers: dict[str, list[str]] = field(default_factory=dict)

    def add(self, image: Published) -> None:
        """It has these referrers."""
        self.referrers.setdefault(image.digest, []).extend(image.referrers)

    def serve(self, repository: str = "digits") -> None:
        """All of the store."""
        self.registry.on("GET", f"/v2/{repository}/manifests/.*", self._manifest)
        self.registry.on("GET", f"/v2/{repository}/blobs/.*", self._blob)
        self.registry.on("GET", f"/v2/{repository}/referrers/.*", self._referrers)

    def asked(self, what: str) -> list[str]:
        """Requests with that in their path."""
        return [line for line in self.registry.seen if what in line]

    def _manifest(self, exchange: Exchange) -> None:
        data = self.store.read(exchange.path.rpartition("/")[2])
        exchange.reply(200, data, {"Content-Type": media_types.MANIFEST})

    def _referrers(self, exchange: Exchange) -> None:
        digest = exchange.path.rpartition("/")[2].partition("?")[0]
        entries = [
            described(parse_document(self.store.read(each), media_types.MANIFEST, "a referrer"))
            for each in self.referrers.get(digest, ())
        ]
        index = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": entries}
        exchange.reply(200, encoded(index), {"Content-Type": media_types.INDEX})

    def _blob(self, exchange: Exchange) -> None:
        digest = exchange.path.rpartition("/")[2]
        data = self.store.read(digest)
        asked = exchange.headers.get("Range")
        start = int(asked[6:-1]) if asked and self.minds_range else 0
        if asked:
            self.ranges.append(asked)
        exchange.send_response(206 if start else 200)
        exchange.send_header("Content-Length", str(len(data) - start))
        if start:
            exchange.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        exchange.end_headers()
        end = len(data) if self.cut_after is None else min(len(data), start + self.cut_after)
        for at in range(start, end, PIECE_BYTES):
            piece = data[at : min(end, at + PIECE_BYTES)]
            exchange.wfile.write(piece)
            self.sent[digest] = self.sent.get(digest, 0) + len(piece)
        if end < len(data):
            exchange.cut()


def make_puller(stock: DeviceStock, served: Served, **changes: Any) -> RegistryPuller:
    """For ``served``, trusting KEY."""
    given: dict[str, Any] = {
        "token": None,
        "trusted": [KEY.public],
        "timeouts": SHORT,
        "sleep": lambda seconds: None,
        "draw": lambda: 0.0,
    }
    return RegistryPuller(stock, f"http://{served.registry.host}", **(given | changes))


def pull(
    puller: RegistryPuller,
    image: Published,
    *,
    keep: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> StoredImage:
    """As the agent does."""
    return puller.pull(
        image.name,
        image.digest,
        keep=lambda: keep,
        on_progress=on_progress,
        is_cancelled=is_cancelled,
    )


@contextmanager
def new_stock(state: Path, *, reserve_bytes: int = 0, boot_id: str = "b1") -> Iterator[DeviceStock]:
    """Closed at the end."""
    state.mkdir(exist_ok=True)
    with closing(DeviceStock(state, reserve_bytes=reserve_bytes, boot_id=boot_id)) as stock:
        yield stock
