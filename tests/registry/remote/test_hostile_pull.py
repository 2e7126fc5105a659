"""A registry that lies, stalls or attacks: a pull ends in one clear error and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from registry import media_types
from registry.blobs import BlobStore
from registry.container_config import encoded
from registry.errors import CancelledError, RemoteError
from registry.platforms import Platform
from registry.remote.documents import digest_of
from registry.remote.pulling import list_tags, pull_image, pull_manifest_bytes
from registry.remote.referrers import list_referrers
from tests.registry.remote.conftest import FakeTime
from tests.registry.remote.hostile_registry import Exchange, HostileRegistry
from tests.registry.remote.small_images import blobs_in, nothing, put_image, put_index

AMD64 = Platform("amd64")
BLOBS = "/v2/x/blobs/.*"
MANIFESTS = "/v2/x/manifests/.*"
CONTENT = b"weights" * 40_000


def pull(registry: HostileRegistry, ours: BlobStore, time: FakeTime) -> str:
    ref = f"{registry.host}/x:1"
    return pull_image(ref, AMD64, ours, nothing, options=time.options()).digest


def layer_of(store: BlobStore, digest: str) -> tuple[str, bytes]:
    layer = json.loads(store.read(digest))["layers"][0]["digest"]
    return layer, store.read(layer)


def test_what_is_right_is_pulled(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    registry.serve(theirs, **{"1": digest})
    assert pull(registry, ours, time) == digest
    assert blobs_in(ours) == blobs_in(theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"!" + data[1:], "other bytes"),
        (lambda data: data + b"!", "are due"),
        (lambda data: data[:-1], "are due"),
        (lambda data: b"", "are due"),
    ],
)
def test_a_blob_that_is_not_what_its_digest_says_is_not_kept(
    registry: HostileRegistry,
    theirs: BlobStore,
    ours: BlobStore,
    time: FakeTime,
    change: Callable[[bytes], bytes],
    message: str,
) -> None:
    digest = put_image(theirs, [CONTENT])
    layer, data = layer_of(theirs, digest)
    registry.serve(theirs, **{"1": digest})
    registry.give(f"/v2/x/blobs/{layer}", change(data))
    with pytest.raises(RemoteError, match=message):
        pull(registry, ours, time)
    assert blobs_in(ours) == {json.loads(theirs.read(digest))["config"]["digest"]}


def test_a_body_without_end_is_left(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    layer, _ = layer_of(theirs, digest)

    def endless(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        while not registry.ending.is_set():
            exchange.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    registry.serve(theirs, **{"1": digest})
    registry.on("GET", f"/v2/x/blobs/{layer}", endless)
    with pytest.raises(RemoteError, match="more than the"):
        pull(registry, ours, time)
    assert layer not in blobs_in(ours)
    registry.on("GET", MANIFESTS, endless)
    with pytest.raises(RemoteError, match="manifest of more than 4194304 bytes"):
        pull(registry, ours, time)


def _cutting(data: bytes, ranges: list[str | None], *, minds_range: bool) -> Callable[..., None]:
    """Sends a third, then two thirds, then all of what is asked for."""

    def route(exchange: Exchange) -> None:
        asked = exchange.headers.get("Range")
        ranges.append(asked)
        start = int(asked[6:-1]) if asked and minds_range else 0
        status = 206 if asked and minds_range else 200
        exchange.send_response(status)
        exchange.send_header("Content-Length", str(len(data) - start))
        if status == 206:
            exchange.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        exchange.end_headers()
        exchange.wfile.write(data[start : len(data) * len(ranges) // 3])
        exchange.cut()

    return route


@pytest.mark.parametrize("minds_range", [True, False])
def test_a_download_goes_on_where_it_was_cut(
    registry: HostileRegistry,
    theirs: BlobStore,
    ours: BlobStore,
    time: FakeTime,
    minds_range: bool,
) -> None:
    digest = put_image(theirs, [CONTENT])
    layer, data = layer_of(theirs, digest)
    ranges: list[str | None] = []
    registry.serve(theirs, **{"1": digest})
    registry.on("GET", f"/v2/x/blobs/{layer}", _cutting(data, ranges, minds_range=minds_range))
    done: list[int] = []
    pull_image(f"{registry.host}/x:1", AMD64, ours, done.append, options=time.options())
    third = len(data) // 3
    assert ranges == [None, f"bytes={third}-", f"bytes={len(data) * 2 // 3}-"]
    assert ours.read(layer) == data
    config = json.loads(theirs.read(digest))["config"]["size"]
    assert sum(done) == len(data) + config  # no byte is counted twice


def test_another_range_than_asked_is_refused(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    layer, data = layer_of(theirs, digest)
    registry.serve(theirs, **{"1": digest})
    wrong = {"Content-Range": f"bytes 7-{len(data) - 1}/{len(data)}"}
    registry.give(f"/v2/x/blobs/{layer}", data, status=206, headers=wrong)
    with pytest.raises(RemoteError, match="another part"):
        pull(registry, ours, time)
    assert layer not in blobs_in(ours)


def test_a_connection_that_is_always_cut_is_given_up(
    registry: HostileRegistry, ours: BlobStore, time: FakeTime
) -> None:
    registry.on("GET", MANIFESTS, lambda exchange: exchange.cut())
    with pytest.raises(RemoteError, match="cut the connection"):
        pull(registry, ours, time)
    assert registry.seen.count("GET /v2/x/manifests/1") == 5
    assert sum(time.slept_s) == pytest.approx(0.5 + 1 + 2 + 4)


def test_a_server_that_says_nothing_or_drips_headers_is_left(
    registry: HostileRegistry, ours: BlobStore, time: FakeTime
) -> None:

    def silent(exchange: Exchange) -> None:
        registry.ending.wait(60)

    registry.on("GET", MANIFESTS, silent)
    with pytest.raises(RemoteError, match="stopped answering"):
        pull(registry, ours, time)

    def drip(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not registry.ending.wait(0.02):
            exchange.wfile.write(b"X: y\r\n")

    registry.on("GET", MANIFESTS, drip)
    with pytest.raises(RemoteError, match="stopped answering"):
        pull(registry, ours, time)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: %s\r\n" % (n, b"y" * 900) for n in range(2000)),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2_000_000,
        b"\x00\x01\x02 not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000,
    ],
)
def test_headers_that_are_a_bomb_or_no_http_are_refused(
    registry: HostileRegistry, ours: BlobStore, time: FakeTime, answer: bytes
) -> None:
    def send(exchange: Exchange) -> None:
        exchange.wfile.write(answer)
        exchange.cut()

    registry.on("GET", MANIFESTS, send)
    with pytest.raises(RemoteError, match=r"as HTTP should|cut the connection|stopped answering"):
        pull(registry, ours, time)
    assert blobs_in(ours) == set()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://169.254.169.254/latest/meta-data/", "only https is followed"),
        ("https://169.254.169.254/latest/meta-data/", "never address"),
        ("https://[fe80::1]/", "never address"),
        ("https://0.0.0.0/", "never address"),
        ("http://10.0.0.1/", "only https is followed"),
        ("file:///etc/passwd", "only https is followed"),
        ("ftp://127.0.0.1/x", "only https is followed"),
        ("http://user:secret-word@127.0.0.1/x", "with a password in it"),
        ("http://[::bad/", "no URL"),
        ("http://127.0.0.1:99999/", "no URL"),
        ("/v2/x/blobs/" + "a" * 9000, "too long"),
        ("", "redirects more than 5 times"),
    ],
)
def test_redirects_into_the_network_or_the_machine_are_not_followed(
    registry: HostileRegistry,
    theirs: BlobStore,
    ours: BlobStore,
    time: FakeTime,
    location: str,
    message: str,
) -> None:
    registry.serve(theirs, **{"1": put_image(theirs, [CONTENT])})
    registry.give(BLOBS, status=307, headers={"Location": location})
    with pytest.raises(RemoteError, match=message) as refused:
        pull(registry, ours, time)
    assert "secret-word" not in str(refused.value)
    assert blobs_in(ours) == set()


def test_a_redirect_loop_ends(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    registry.serve(theirs, **{"1": put_image(theirs, [CONTENT])})
    registry.give("/loop", status=302, headers={"Location": "/loop"})
    registry.give(BLOBS, status=307, headers={"Location": f"http://{registry.host}/loop"})
    with pytest.raises(RemoteError, match="redirects more than 5 times"):
        pull(registry, ours, time)
    assert registry.seen.count("GET /loop") == 5


MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media_types.MANIFEST,
    "config": {"mediaType": media_types.CONFIG, "digest": f"sha256:{'a' * 64}", "size": 2},
    "layers": [{"mediaType": media_types.LAYER, "digest": f"sha256:{'b' * 64}", "size": 3}],
}
DEEP = b"[" * 200_000


def _with(**changes: object) -> bytes:
    return json.dumps({**MANIFEST, **changes}).encode()


def _layer(**changes: object) -> bytes:
    return _with(layers=[{**MANIFEST["layers"][0], **changes}])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DEEP, "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"", "no JSON"),
        (b"[]", "no object"),
        (b"7", "no object"),
        (b'{"schemaVersion": ' + b"9" * 10_000 + b"}", "no JSON"),
        (_with(schemaVersion=1), "old schema 1"),
        (_with(schemaVersion="2"), "schemaVersion 2"),
        (_with(mediaType=[1]), "no text"),
        (_with(mediaType="text/x\x1b[2J"), "registry calls it"),
        (_with(manifests=[]), "both a manifest and an index"),
        (_with(layers={}), "no list of layers"),
        (_with(layers=[[]]), "no descriptor"),
        (_with(config="x"), "no descriptor"),
        (_layer(digest="sha512:" + "b" * 128), "no sha256 digest"),
        (_layer(digest="sha256:../../etc/passwd"), "no sha256 digest"),
        (_layer(digest="sha256:" + "B" * 64), "no sha256 digest"),
        (_layer(size=-1), "no size"),
        (_layer(size=True), "no size"),
        (_layer(size=1e30), "no size"),
        (_layer(size=10**30), "no size"),
        (_layer(mediaType="application/x-unknown"), "not known"),
        (_layer(urls=["https://example.org/x"]), "not followed"),
        (_with(config={**MANIFEST["config"], "size": 10**9}), "more than"),
        (_with(config={**MANIFEST["config"], "mediaType": "a/b"}), "no container image"),
        (_layer(digest=MANIFEST["config"]["digest"]), "two sizes"),
    ],
)
def test_manifests_that_are_wrong_are_refused(
    registry: HostileRegistry, ours: BlobStore, time: FakeTime, data: bytes, message: str
) -> None:
    registry.give(MANIFESTS, data, headers={"Content-Type": media_types.MANIFEST})
    with pytest.raises(RemoteError, match=message) as refused:
        pull(registry, ours, time)
    assert "\x1b" not in str(refused.value)
    assert blobs_in(ours) == set()


def test_schema_1_and_unknown_types_are_named(
    registry: HostileRegistry, ours: BlobStore, time: FakeTime
) -> None:
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    registry.give(MANIFESTS, b'{"schemaVersion":1}', headers={"Content-Type": old})
    with pytest.raises(RemoteError, match="old schema 1; push it again"):
        pull(registry, ours, time)
    registry.give(MANIFESTS, b'{"schemaVersion":2,"mediaType":"a/b"}')
    with pytest.raises(RemoteError, match="unknown media type a/b"):
        pull(registry, ours, time)


def test_a_manifest_of_another_digest_than_asked_or_promised_is_refused(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    good, evil = put_image(theirs, [b"good"]), put_image(theirs, [b"evil"])
    registry.give(MANIFESTS, theirs.read(evil), headers={"Content-Type": media_types.MANIFEST})
    with pytest.raises(RemoteError, match="does not have the digest"):
        pull_manifest_bytes(f"{registry.host}/x@{good}", options=time.options())
    promise = {"Content-Type": media_types.MANIFEST, "Docker-Content-Digest": good}
    registry.give(MANIFESTS, theirs.read(evil), headers=promise)
    with pytest.raises(RemoteError, match="does not have the digest"):
        pull(registry, ours, time)
    assert blobs_in(ours) == set()


def test_an_index_that_names_itself_or_another_index_ends(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    inner = put_index(theirs, {"amd64": put_image(theirs, [b"x"])})
    fields = json.loads(theirs.read(put_index(theirs, {"amd64": inner})))
    nested = theirs.put([encoded(fields)])[0]
    registry.serve(theirs, **{"1": nested})
    with pytest.raises(RemoteError, match="names an index where a manifest is due"):
        pull(registry, ours, time)
    fields["manifests"][0]["mediaType"] = media_types.INDEX
    registry.serve(theirs, **{"1": theirs.put([encoded(fields)])[0]})
    with pytest.raises(RemoteError, match="not a manifest"):
        pull(registry, ours, time)
    itself = theirs.read(nested)
    registry.give(MANIFESTS, itself, headers={"Content-Type": media_types.INDEX})
    with pytest.raises(RemoteError, match="does not have the digest"):
        pull(registry, ours, time)
    assert blobs_in(ours) == set()


def test_a_missing_blob_is_named(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    layer, _ = layer_of(theirs, digest)
    registry.serve(theirs, **{"1": digest})
    registry.give(f"/v2/x/blobs/{layer}", status=404)
    with pytest.raises(RemoteError, match=f"404 for {layer}"):
        pull(registry, ours, time)
    assert digest not in blobs_in(ours)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"[]", "no object"),
        (DEEP, "no JSON"),
        (b"{}", "made for unknown"),
        (b'{"os":"windows","architecture":"amd64"}', "made for windows/amd64"),
        (b'{"os":"linux","architecture":"amd64","rootfs":[]}', "no list"),
        (b'{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[7]}}', "no list"),
        (b'{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":[]}}', "0 diff_ids for 1"),
    ],
)
def test_a_config_that_is_wrong_is_refused_before_its_layers_are_fetched(
    registry: HostileRegistry,
    theirs: BlobStore,
    ours: BlobStore,
    time: FakeTime,
    config: bytes,
    message: str,
) -> None:
    digest, size = theirs.put([config])
    entry = {"mediaType": media_types.CONFIG, "digest": digest, "size": size}
    registry.serve(theirs, **{"1": put_image(theirs, [CONTENT], changes={"config": entry})})
    with pytest.raises(RemoteError, match=message):
        pull(registry, ours, time)
    assert blobs_in(ours) == {digest}
    assert len([line for line in registry.seen if "/blobs/" in line]) == 1


def test_a_blob_of_ours_is_not_taken_for_another_size(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest, _ = ours.put([b"{" * 1000])
    entry = {"mediaType": media_types.CONFIG, "digest": digest, "size": 2}
    registry.serve(theirs, **{"1": put_image(theirs, [b"x"], changes={"config": entry})})
    with pytest.raises(RemoteError, match="a size of 2; it has 1000"):
        pull(registry, ours, time)


def test_too_many_requests_are_waited_for_as_the_registry_asks(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [b"x"])
    registry.serve(theirs, **{"1": digest})
    answered: list[int] = []

    def busy_once(exchange: Exchange) -> None:
        answered.append(1)
        if len(answered) == 1:
            exchange.reply(429, headers={"Retry-After": "7"})
        else:
            exchange.reply(200, theirs.read(digest), {"Content-Type": media_types.MANIFEST})

    registry.on("GET", MANIFESTS, busy_once)
    assert pull(registry, ours, time) == digest
    assert sum(time.slept_s) == pytest.approx(7)
    registry.give(MANIFESTS, status=429, headers={"Retry-After": "86400"})
    with pytest.raises(RemoteError, match=r"429.*try again in 86400 s") as refused:
        pull(registry, ours, time)
    assert refused.value.status == 429
    assert sum(time.slept_s) == pytest.approx(7)


def test_500_for_ever_ends_with_the_registrys_words_made_harmless(
    registry: HostileRegistry, ours: BlobStore, time: FakeTime
) -> None:
    message = "the disk \x1b[31m is\nfull \u202e" + "!" * 100_000
    body = json.dumps({"errors": [{"code": "UNKNOWN", "message": message}]}).encode()
    registry.give(MANIFESTS, body[:60_000], status=500)
    with pytest.raises(RemoteError, match="500"):
        pull(registry, ours, time)
    body = json.dumps({"errors": [{"code": "UNKNOWN", "message": message[:5000]}]}).encode()
    registry.give(MANIFESTS, body, status=500)
    with pytest.raises(RemoteError, match=r"UNKNOWN: the disk \\x1b\[31m is\\nfull") as refused:
        pull(registry, ours, time)
    assert len(str(refused.value)) < 600
    assert str(refused.value).isprintable()
    assert registry.seen.count("GET /v2/x/manifests/1") == 10


def test_a_cancelled_pull_leaves_nothing_and_ends_soon(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [CONTENT])
    registry.serve(theirs, **{"1": digest})

    def stop(count: int) -> None:
        raise CancelledError("stopped by the user")

    ref = f"{registry.host}/x:1"
    with pytest.raises(CancelledError, match="by the user"):
        pull_image(ref, AMD64, ours, stop, options=time.options())
    assert blobs_in(ours) == set()
    with pytest.raises(CancelledError):
        pull_image(ref, AMD64, ours, nothing, cancelled=lambda: True, options=time.options())
    assert blobs_in(ours) == set()


@pytest.mark.parametrize("body", [b"[]", b'{"tags":7}', DEEP, b"x"])
def test_lists_of_tags_that_are_wrong_are_refused(
    registry: HostileRegistry, time: FakeTime, body: bytes
) -> None:
    registry.give(r"/v2/x/tags/list\?n=1000", body)
    with pytest.raises(RemoteError, match="the tags of x"):
        list_tags(f"{registry.host}/x", options=time.options())


def test_pages_are_followed_and_end(registry: HostileRegistry, time: FakeTime) -> None:
    link = {"Link": '</v2/x/tags/list?last=b>; rel="next"'}
    registry.give(r"/v2/x/tags/list\?n=1000", b'{"tags":["a","b\\u001b"]}', headers=link)
    registry.give(r"/v2/x/tags/list\?last=b", b'{"tags":["c",7,null]}')
    assert list_tags(f"{registry.host}/x", options=time.options()) == ["a", "c"]
    registry.give(r"/v2/x/tags/list\?last=b", b'{"tags":["d"]}', headers=link)
    with pytest.raises(RemoteError, match="more than 200 pages"):
        list_tags(f"{registry.host}/x", options=time.options())


def test_referrers_come_from_the_api_where_there_is_one(
    registry: HostileRegistry, time: FakeTime
) -> None:
    subject = digest_of(b"subject")
    entry = {"mediaType": media_types.MANIFEST, "digest": digest_of(b"sbom"), "size": 4}
    index = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": [entry, entry]}
    listed = json.dumps(index).encode()
    registry.give(f"/v2/x/referrers/{subject}", listed, headers={"Content-Type": media_types.INDEX})
    (found,) = list_referrers(f"{registry.host}/x:1", subject, options=time.options())
    assert found.digest == entry["digest"]
    registry.give(f"/v2/x/referrers/{subject}", b"<html>", headers={"Content-Type": "text/html"})
    assert list_referrers(f"{registry.host}/x:1", subject, options=time.options()) == []
