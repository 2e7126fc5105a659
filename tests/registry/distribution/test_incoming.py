"""Files that clients send: whose they are, how much there may be, and when they go."""

from __future__ import annotations

import hashlib
import time
from contextlib import closing
from pathlib import Path

import pytest

from registry import Workspace
from registry.blobs import BlobStore
from registry.distribution.errors import DistributionError, TooLargeError
from registry.distribution.held_blobs import HOLD_S
from registry.distribution.incoming import Incoming, IncomingLimits
from registry.distribution.kept_connections import ServedDatabase
from registry.distribution.uploads import UPLOAD_S, UploadLimits, Uploads
from registry.errors import InvalidSourceError, StoreFullError
from registry.paths import WorkspacePaths

DATA = b"the bytes of a file"


class Shelf:
    """A workspace with a clock that the test sets."""

    def __init__(self, root: Path, limits: IncomingLimits) -> None:
        self.workspace = Workspace.init(root, base="none")
        self.now = 1_000_000.0
        paths, store = WorkspacePaths(root), BlobStore(WorkspacePaths(root))
        database = ServedDatabase(paths.database)
        self.uploads = Uploads(paths, database, store, lambda: self.now, UploadLimits())
        self.incoming = Incoming(
            paths.uploads, database, store, self.uploads, lambda: self.now, limits
        )

    def send(self, who: str, data: bytes, *, whole: bool = True) -> str:
        """Upload it, or only half of it."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with closing(self.incoming.open(who, digest, len(data))) as session:
            session.write(data[session.offset :] if whole else data[: len(data) // 2])
            if whole:
                session.finish(digest)
        return digest


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "ws", IncomingLimits())


def test_what_someone_sent_is_theirs_alone_to_name(shelf: Shelf) -> None:
    digest = shelf.send("ada", DATA)
    [stored] = shelf.incoming.stored("ada", [("a/b", digest)])
    assert (stored.path, stored.size_bytes, stored.digest) == ("a/b", len(DATA), digest)
    for who in ("bob", "ada:", ""):
        assert shelf.incoming.known(who, [digest]) == []
        with pytest.raises(InvalidSourceError, match="was not uploaded"):
            shelf.incoming.stored(who, [("a/b", digest)])
    assert shelf.incoming.known("ada", [digest, "sha256:" + "0" * 64]) == [digest]
    shelf.incoming.release("ada", [digest])
    with pytest.raises(InvalidSourceError):
        shelf.incoming.stored("ada", [("a/b", digest)])


def test_a_file_of_a_model_is_known_to_everyone(shelf: Shelf) -> None:
    digest = shelf.send("ada", DATA)
    stored = shelf.incoming.stored("ada", [("m", digest)])
    shelf.workspace.models.register_stored(stored, name="m")
    assert shelf.incoming.known("bob", [digest]) == [digest]
    assert shelf.incoming.stored("bob", [("m", digest)]) == stored


def test_two_processes_of_one_client_may_send_the_same_file(shelf: Shelf) -> None:
    digest = shelf.send("ada", DATA)
    assert shelf.incoming.known("ada", [digest]) == [digest]  # the second asks what to send
    shelf.workspace.models.register_stored(shelf.incoming.stored("ada", [("m", digest)]), name="m")
    shelf.incoming.release("ada", [digest])  # the first one's end
    stored = shelf.incoming.stored("ada", [("m", digest)])
    assert shelf.workspace.models.register_stored(stored, name="m").version == 2


def test_half_a_file_goes_on_where_it_was_and_is_of_its_sender(shelf: Shelf) -> None:
    digest = shelf.send("ada", DATA, whole=False)
    assert shelf.incoming.offset("ada", digest) == len(DATA) // 2
    assert shelf.incoming.offset("bob", digest) == 0
    assert shelf.send("ada", DATA) == digest
    assert shelf.incoming.known("ada", [digest]) == [digest]


def test_what_is_not_used_expires_and_purge_takes_it_then(shelf: Shelf) -> None:
    whole, half = shelf.send("ada", DATA), shelf.send("ada", DATA * 2, whole=False)
    shelf.workspace.purge()
    shelf.now += max(UPLOAD_S, HOLD_S) + 1
    assert shelf.incoming.known("ada", [whole]) == []
    assert shelf.incoming.offset("ada", half) == 0
    shelf.uploads.expire()
    with pytest.raises(InvalidSourceError):
        shelf.incoming.stored("ada", [("x", whole)])


def test_purge_leaves_what_is_on_its_way(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "ws", IncomingLimits())
    shelf.now = time.time()
    whole, half = shelf.send("ada", DATA), shelf.send("ada", DATA * 2, whole=False)
    shelf.workspace.purge()
    assert shelf.incoming.known("ada", [whole]) == [whole]
    assert shelf.incoming.offset("ada", half) == len(DATA)


def test_there_is_a_bound_on_everything(tmp_path: Path) -> None:
    limits = IncomingLimits(uploads=2, waiting_bytes=100, file_bytes=60)
    shelf = Shelf(tmp_path / "ws", limits)
    with pytest.raises(TooLargeError):
        shelf.send("ada", b"x" * 61)
    for letter in (b"a", b"b"):
        shelf.send("ada", letter * 50, whole=False)
    with pytest.raises(DistributionError, match="2 uploads are under way"):
        shelf.send("ada", b"c" * 50, whole=False)
    shelf.send("bob", b"c" * 50)  # another's are another's
    with pytest.raises(StoreFullError, match="not used"):
        shelf.send("bob", b"d" * 60)
    full = Shelf(tmp_path / "full", IncomingLimits(free_bytes=1 << 60))
    with pytest.raises(StoreFullError, match="no room"):
        full.send("ada", DATA)


def test_bytes_of_another_digest_end_the_upload(shelf: Shelf) -> None:
    digest = "sha256:" + "0" * 64
    with closing(shelf.incoming.open("ada", digest, 3)) as session:
        session.write(b"abc")
        with pytest.raises(DistributionError, match="another digest"):
            session.finish(digest)
    assert shelf.incoming.offset("ada", digest) == 0
    assert shelf.incoming.known("ada", [digest]) == []
