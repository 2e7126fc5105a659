"""A registry that refuses, cuts or lies while we push to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from registry import media_types
from registry.blobs import BlobStore
from registry.errors import DamagedBlobError, RemoteError
from registry.remote.documents import digest_of
from registry.remote.pushing import push_image
from tests.registry.remote.conftest import FakeTime
from tests.registry.remote.hostile_registry import Exchange, HostileRegistry
from tests.registry.remote.small_images import nothing, put_image, put_referrer

CONTENT = b"weights" * 400_000


class Uploads:
    """The push half of a good registry, in memory; ``refuse`` answers first if it returns True."""

    def __init__(self, registry: HostileRegistry) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.parts: list[bytes] = []
        self.cuts: list[int] = []
        """Bytes after which the connection of the next uploads is cut, and what came is kept."""
        self.limit: int | None = None
        self.subject_header = False
        registry.on("HEAD", "/v2/x/blobs/.*", self._head)
        registry.on("POST", r"/v2/x/blobs/uploads/.*", self._begin)
        for method in ("PUT", "PATCH"):
            registry.on(method, r"/v2/x/blobs/uploads/\d+.*", self._take)
        registry.on("GET", r"/v2/x/blobs/uploads/\d+.*", self._status)
        registry.on("PUT", "/v2/x/manifests/.*", self._manifest)
        registry.on("GET", "/v2/x/manifests/.*", self._get)

    def _head(self, exchange: Exchange) -> None:
        blob = self.blobs.get(exchange.path.rpartition("/")[2])
        if blob is None:
            exchange.reply(404)
        else:
            exchange.reply(200, blob)

    def _begin(self, exchange: Exchange) -> None:
        self.parts.append(b"")
        self._moved(exchange, len(self.parts) - 1, 202)

    def _take(self, exchange: Exchange) -> None:
        number = self._number(exchange)
        size = int(exchange.headers["Content-Length"])
        if self.limit is not None and size > self.limit:
            exchange.close_connection = True
            exchange.reply(413)
            return
        if self.cuts and size > self.cuts[0]:
            self.parts[number] += exchange.body(self.cuts.pop(0))
            exchange.cut()
            return
        if exchange.command == "PATCH":
            start = int(exchange.headers["Content-Range"].partition("-")[0])
            if start != len(self.parts[number]):
                exchange.body()
                exchange.reply(416)
                return
        self.parts[number] += exchange.body()
        if exchange.command == "PATCH":
            self._moved(exchange, number, 202)
            return
        digest = digest_of(self.parts[number])
        assert digest.partition(":")[2] in exchange.path, "the wrong bytes came"
        self.blobs[digest] = self.parts[number]
        exchange.reply(201)

    def _status(self, exchange: Exchange) -> None:
        self._moved(exchange, self._number(exchange), 204)

    def _moved(self, exchange: Exchange, number: int, status: int) -> None:
        last = max(0, len(self.parts[number]) - 1)
        place = f"/v2/x/blobs/uploads/{number}?state=a%2Fb"
        exchange.reply(status, headers={"Location": place, "Range": f"0-{last}"})

    def _manifest(self, exchange: Exchange) -> None:
        data = exchange.body()
        self.manifests[exchange.path.rpartition("/")[2]] = data
        subject = json.loads(data).get("subject") or {}
        headers = {"OCI-Subject": subject["digest"]} if subject and self.subject_header else {}
        exchange.reply(201, headers=headers)

    def _get(self, exchange: Exchange) -> None:
        data = self.manifests.get(exchange.path.rpartition("/")[2])
        if data is None:
            exchange.reply(404)
        else:
            exchange.reply(200, data, {"Content-Type": json.loads(data)["mediaType"]})

    @staticmethod
    def _number(exchange: Exchange) -> int:
        found = re.match(r"/v2/x/blobs/uploads/(\d+)", exchange.path)
        assert found is not None
        return int(found[1])


@pytest.fixture
def uploads(registry: HostileRegistry) -> Uploads:
    """Of ``registry``."""
    return Uploads(registry)


def push(registry: HostileRegistry, store: BlobStore, digest: str, time: FakeTime) -> int:
    ref = f"{registry.host}/x:1"
    return push_image(ref, digest, store, nothing, options=time.options()).bytes_sent


def layer_of(store: BlobStore, digest: str) -> str:
    return str(json.loads(store.read(digest))["layers"][0]["digest"])


def test_a_cut_upload_goes_on_where_the_registry_is(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    uploads.cuts = [1_000_000, 600_000]
    done: list[int] = []
    ref = f"{registry.host}/x:1"
    push_image(ref, digest, theirs, done.append, options=time.options())
    layer = layer_of(theirs, digest)
    assert uploads.blobs[layer] == theirs.read(layer)
    assert uploads.manifests["1"] == theirs.read(digest)
    patches = [line for line in registry.seen if line.startswith("PATCH")]
    assert len(patches) == 2  # from 1,000,000, then from 1,600,000
    sizes = json.loads(theirs.read(digest))
    assert sum(done) == sizes["layers"][0]["size"] + sizes["config"]["size"]


def test_a_registry_that_takes_small_requests_gets_pieces(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [b"0123456789" * 2_000_000])
    uploads.limit = 8 * 1024 * 1024
    push(registry, theirs, digest, time)
    layer = layer_of(theirs, digest)
    assert uploads.blobs[layer] == theirs.read(layer)
    assert len([line for line in registry.seen if line.startswith("PATCH")]) == 3


def test_a_registry_that_takes_nothing_is_given_up(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    uploads.limit = 100
    with pytest.raises(RemoteError, match="limits the size") as refused:
        push(registry, theirs, digest, time)
    assert refused.value.status == 413
    uploads.limit, uploads.cuts = None, [0] * 1000
    with pytest.raises(RemoteError, match="cut the connection"):
        push(registry, theirs, digest, time)
    assert uploads.manifests == {}


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "docker login"), (403, "no such right"), (405, "405"), (500, "500"), (307, "307")],
)
def test_a_refused_upload_ends_in_one_line(
    registry: HostileRegistry,
    uploads: Uploads,
    theirs: BlobStore,
    time: FakeTime,
    status: int,
    message: str,
) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(status, headers={"Location": "http://169.254.169.254/"})

    for method in ("POST", "PUT"):
        registry.on(method, ".*", refuse)
        with pytest.raises(RemoteError, match=message) as refused:
            push(registry, theirs, put_image(theirs, [b"x"]), time)
        assert refused.value.status == status
    assert uploads.manifests == {}


@pytest.mark.parametrize(
    "location", ["", "http://169.254.169.254/up", "file:///tmp/x", "https://169.254.169.254/up"]
)
def test_uploads_to_other_places_are_not_followed(
    registry: HostileRegistry, theirs: BlobStore, time: FakeTime, location: str
) -> None:
    headers = {"Location": location} if location else {}
    registry.on("POST", ".*", lambda exchange: exchange.reply(202, headers=headers))
    with pytest.raises(RemoteError, match=r"not followed|where to send"):
        push(registry, theirs, put_image(theirs, [b"x"]), time)


def test_a_registry_that_answers_nonsense_about_its_place_ends(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    uploads.cuts = [1000] * 1000
    lie = {"Location": "/v2/x/blobs/uploads/0", "Range": "0-999999999999"}
    registry.on("GET", r"/v2/x/blobs/uploads/.*", lambda e: e.reply(204, headers=lie))
    with pytest.raises(RemoteError):
        push(registry, theirs, put_image(theirs, [CONTENT]), time)
    assert len(registry.seen) < 200


def test_a_damaged_blob_is_not_completed_there(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    path = Path(theirs.paths.blob(layer_of(theirs, digest)))
    path.chmod(0o600)
    path.write_bytes(b"!" + path.read_bytes()[1:])
    with pytest.raises(DamagedBlobError):
        push(registry, theirs, digest, time)
    assert layer_of(theirs, digest) not in uploads.blobs
    assert uploads.manifests == {}


def test_a_registry_that_stores_another_manifest_is_not_believed(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    def lie(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(201, headers={"Docker-Content-Digest": f"sha256:{'0' * 64}"})

    registry.on("PUT", "/v2/x/manifests/.*", lie)
    with pytest.raises(RemoteError, match="stored the manifest as"):
        push(registry, theirs, put_image(theirs, [b"x"]), time)


def test_the_referrers_tag_is_kept_only_without_an_api_and_keeps_what_is_there(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [b"x"])
    sbom = put_referrer(theirs, digest, b"sbom")
    tag = digest.replace(":", "-")
    ref = f"{registry.host}/x:1"
    uploads.subject_header = True
    push_image(ref, digest, theirs, nothing, referrers=[sbom], options=time.options())
    assert tag not in uploads.manifests
    of_others = {"mediaType": media_types.MANIFEST, "digest": digest_of(b"a"), "size": 1, "x": "y"}
    index = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": [of_others]}
    uploads.manifests[tag], uploads.subject_header = json.dumps(index).encode(), False
    push_image(ref, digest, theirs, nothing, referrers=[sbom], options=time.options())
    entries = json.loads(uploads.manifests[tag])["manifests"]
    assert of_others in entries
    assert {entry["digest"] for entry in entries} == {digest_of(b"a"), sbom}
    uploads.manifests[tag] = theirs.read(digest)
    other = put_referrer(theirs, digest, b"another")
    with pytest.raises(RemoteError, match="should be an index of referrers"):
        push_image(ref, digest, theirs, nothing, referrers=[other], options=time.options())


def test_a_lost_update_of_the_referrers_tag_is_made_again(
    registry: HostileRegistry, uploads: Uploads, theirs: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [b"x"])
    sbom = put_referrer(theirs, digest, b"sbom")
    tag = digest.replace(":", "-")
    lost: list[bytes] = []

    def lose_once(exchange: Exchange) -> None:
        data = exchange.body()
        if lost:
            uploads.manifests[tag] = data
        lost.append(data)
        exchange.reply(201)

    registry.on("PUT", f"/v2/x/manifests/{tag}", lose_once)
    ref = f"{registry.host}/x:1"
    push_image(ref, digest, theirs, nothing, referrers=[sbom], options=time.options())
    assert len(lost) == 2
    assert sbom.encode() in uploads.manifests[tag]


def test_an_image_is_not_pushed_under_the_digest_of_another(
    registry: HostileRegistry, theirs: BlobStore, time: FakeTime
) -> None:
    ref = f"{registry.host}/x@sha256:{'0' * 64}"
    with pytest.raises(RemoteError, match="names another digest"):
        push_image(ref, put_image(theirs, [b"x"]), theirs, nothing, options=time.options())
    assert registry.seen == []
