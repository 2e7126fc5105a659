"""Hostile names, paths, bodies and manifests: refused with a code, and nothing is left behind."""

from __future__ import annotations

import hashlib
import json
import socket
from typing import Any

import httpx
import pytest

from registry import Workspace, media_types
from tests.registry.store_check import blobs
from tests.runtime.registry_service.served import (
    Served,
    code,
    descriptor,
    image_manifest,
    push_blob,
    push_image,
    put_manifest,
    sha256,
)

NAMES = [
    "..%2f..%2fetc",
    "%2e%2e/%2e%2e",
    "..%252f..%252fetc",
    "%252e%252e%252f",
    "..%5c..%5c",
    "a\\b",
    ";/../a",
    "a;b",
    "a%00b",
    "a%0d%0ab",
    "%c0%ae%c0%ae%c0%af",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8fa",
    "a%e2%88%95b",
    "a%e2%81%84b",
    "/a",
    "a//b",
    "a/",
    "a/./b",
    "a/../b",
    "C:/a",
    "file:///etc",
    "Upper",
    "a.",
    ".a",
    "a..b",
    "-a",
    "a_-b",
    "a b".replace(" ", "%20"),
    "a?b".replace("?", "%3f"),
    "a%23b",
    "a" * 256,
    "a/" * 2000 + "a",
]
TAILS = ["manifests/latest", "blobs/sha256:" + "0" * 64, "tags/list", "blobs/uploads/"]


def _raw(served: Served, request: bytes) -> tuple[int, bytes]:
    """What a request answers that no client library would send."""
    host, _, port = served.host.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_no_encoding_leads_anywhere(served: Served, name: str) -> None:
    for tail in TAILS:
        method = b"POST" if tail.endswith("uploads/") else b"GET"
        path = f"/v2/{name}/{tail}".encode()
        head = b"%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % (method, path)
        status, body = _raw(served, head)
        assert status in (400, 404), (path, body)
        assert json.loads(body)["errors"][0]["code"] == "NAME_INVALID"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../healthz",
        "/v2/%2e%2e/x",
        "/v2//",
        "/v2/x",
        "/v2/digits/blobs/",
    ],
)
def test_a_path_that_means_nothing_is_said_so(served: Served, path: str) -> None:
    status, body = _raw(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status in (400, 404)
    assert json.loads(body)["errors"][0]["code"] == "NAME_INVALID"


@pytest.mark.parametrize("path", ["/etc/passwd", "*", "/api/v1/../../etc/passwd", "/api/v9/models"])
def test_a_path_of_no_part_is_said_so(served: Served, path: str) -> None:
    status, body = _raw(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status == 404
    assert json.loads(body)["error"]["code"] == "not_found"


def test_bytes_that_are_no_ascii_are_no_path(served: Served) -> None:
    request = b"GET /v2/\xff\xfe/tags/list HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert _raw(served, request)[0] in (400, 404)


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 65,
        "SHA256:" + "0" * 64,
        "sha512:" + "0" * 128,
        "sha256:..%5c..",
        "md5:x",
        "0" * 64,
        "sha256:" + "0" * 63 + "%0a",
    ],
)
def test_only_sha256_digests_are_served(client: httpx.Client, digest: str) -> None:
    for method, path in (("GET", "blobs/"), ("DELETE", "blobs/"), ("GET", "referrers/")):
        answer = client.request(method, f"/v2/digits/{path}{digest}")
        assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    answer = client.post(f"/v2/digits/blobs/uploads/?digest={digest}", content=b"x")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("tag", [".a", "-a", "a" * 129, "a%2fb", "a%00", "%c3%a9", "a+b", "@"])
def test_a_tag_that_is_none_is_not_pushed(client: httpx.Client, tag: str) -> None:
    push_blob(client, "h/tag", b"{}")
    answer = put_manifest(client, "h/tag", tag, image_manifest(b"{}", []))
    assert answer.status_code in (400, 404)
    assert code(answer) in ("TAG_INVALID", "NAME_INVALID")


LAYER = descriptor(b"layer")
CONFIG = descriptor(b"{}", media_types.CONFIG)


def _manifest(**change: Any) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": CONFIG,
        "layers": [LAYER],
    }
    document.update(change)
    return json.dumps({k: v for k, v in document.items() if v != "left out"}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b"[" * 100_000,
        b'{"schemaVersion":2,"config":' + b'{"a":' * 100_000,
        b'{"schemaVersion":2,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"schemaVersion":NaN}',
        b"\xef\xbb\xbf" + _manifest(),
        _manifest() + b"}",
        _manifest(schemaVersion=1),
        _manifest(schemaVersion="2"),
        _manifest(config="left out"),
        _manifest(config=None),
        _manifest(config=[]),
        _manifest(layers="left out"),
        _manifest(layers={}),
        _manifest(layers=[None]),
        _manifest(layers=[{**LAYER, "size": -1}]),
        _manifest(layers=[{**LAYER, "size": 1e308}]),
        _manifest(layers=[{**LAYER, "size": "5"}]),
        _manifest(layers=[{**LAYER, "size": 2**70}]),
        _manifest(layers=[{**LAYER, "digest": 5}]),
        _manifest(manifests=[]),
        _manifest(annotations={"a": 1}),
        _manifest(annotations=[]),
        _manifest(subject="x"),
        _manifest(mediaType=media_types.INDEX),
        _manifest(mediaType="text/html"),
        _manifest(artifactType=7),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(client: httpx.Client, data: bytes) -> None:
    push_blob(client, "h/manifest", b"{}")
    push_blob(client, "h/manifest", b"layer")
    answer = put_manifest(client, "h/manifest", "1", data)
    assert (answer.status_code, code(answer)) == (400, "MANIFEST_INVALID")
    assert client.get("/v2/h/manifest/manifests/1").status_code == 404


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_manifest(layers=[{**LAYER, "size": 4}]), "SIZE_INVALID"),
        (_manifest(layers=[LAYER, {**LAYER, "size": 6}]), "SIZE_INVALID"),
        (_manifest(layers=[descriptor(b"not there")]), "MANIFEST_BLOB_UNKNOWN"),
        (_manifest(config=descriptor(b"no config")), "MANIFEST_BLOB_UNKNOWN"),
        (_manifest(layers=[{**LAYER, "digest": "sha256:../../x"}]), "DIGEST_INVALID"),
        (_manifest(subject={**LAYER, "digest": "sha512:" + "0" * 128}), "DIGEST_INVALID"),
    ],
)
def test_a_manifest_names_only_what_is_there(
    client: httpx.Client, workspace: Workspace, data: bytes, expected: str
) -> None:
    push_blob(client, "h/names", b"{}")
    push_blob(client, "h/names", b"layer")
    push_blob(client, "h/elsewhere", b"not there")
    before = blobs(workspace)
    answer = put_manifest(client, "h/names", "1", data)
    assert (answer.status_code, code(answer)) == (400, expected)
    assert blobs(workspace) == before


def test_a_manifest_has_a_type_that_is_served(client: httpx.Client) -> None:
    push_blob(client, "h/type", b"{}")
    data = image_manifest(b"{}", [])
    for media_type in ("text/html", "application/json", media_types.INDEX, "x" * 5000):
        answer = put_manifest(client, "h/type", "1", data, media_type)
        assert (answer.status_code, code(answer)) == (400, "MANIFEST_INVALID")
    answer = put_manifest(client, "h/type", "1", data, f"{media_types.MANIFEST}; charset=utf-8")
    assert answer.status_code == 201


def test_a_manifest_has_4_mib_at_most(client: httpx.Client) -> None:
    push_blob(client, "h/large", b"{}")
    data = image_manifest(b"{}", [], annotations={"a": "x" * (4 * 1024 * 1024 - 400)})
    assert len(data) < 4 * 1024 * 1024
    assert put_manifest(client, "h/large", "1", data).status_code == 201
    answer = put_manifest(client, "h/large", "2", data + b" " * 1000)
    assert (answer.status_code, code(answer)) == (413, "SIZE_INVALID")
    pieces = (b" " * 65536 for _ in range(200))
    answer = client.put("/v2/h/large/manifests/2", content=pieces)
    assert (answer.status_code, code(answer)) == (413, "SIZE_INVALID")


def test_wrong_bytes_are_refused_and_not_kept(client: httpx.Client, workspace: Workspace) -> None:
    before = blobs(workspace)
    digest = sha256(b"what was promised")
    answer = client.post(f"/v2/h/wrong/blobs/uploads/?digest={digest}", content=b"other bytes")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    location = client.post("/v2/h/wrong/blobs/uploads/").headers["Location"]
    answer = client.put(f"{location}?digest={digest}", content=b"other bytes")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert client.get(location).status_code == 404
    assert client.put(location, content=b"").status_code == 400
    assert blobs(workspace) == before


@pytest.mark.parametrize(
    "span", ["0-", "-5", "5-0", "a-b", "bytes 0-4/5", "0-4/5", "9" * 30 + "-1"]
)
def test_a_content_range_that_is_none_is_refused(client: httpx.Client, span: str) -> None:
    location = client.post("/v2/h/range/blobs/uploads/").headers["Location"]
    answer = client.patch(location, content=b"01234", headers={"Content-Range": span})
    assert (answer.status_code, code(answer)) == (400, "BLOB_UPLOAD_INVALID")
    client.delete(location)


def test_a_chunk_has_the_size_of_its_range(client: httpx.Client) -> None:
    location = client.post("/v2/h/size/blobs/uploads/").headers["Location"]
    for body in (b"0123", b"012345", (b"01" for _ in range(2)), (b"01" for _ in range(9))):
        answer = client.patch(location, content=body, headers={"Content-Range": "0-4"})
        assert (answer.status_code, code(answer)) == (400, "SIZE_INVALID")
        assert client.get(location).headers["Range"] == "0-0"
    ended = client.put(f"{location}?digest={sha256(b'')}")
    assert ended.status_code == 201


def test_an_upload_belongs_to_its_repository(client: httpx.Client) -> None:
    location = client.post("/v2/h/mine/blobs/uploads/").headers["Location"]
    other = location.replace("h/mine", "h/other")
    for upload in (other, "/v2/h/mine/blobs/uploads/..%2f..%2fworkspace.db", f"{location}0"):
        answer = client.get(upload)
        assert answer.status_code in (400, 404)
        assert client.put(f"{upload}?digest={sha256(b'')}").status_code in (400, 404)
    assert client.delete(location).status_code == 204


def test_ten_thousand_tags_come_in_pages(client: httpx.Client, workspace: Workspace) -> None:
    digest = push_image(client, "h/many", "first", [])
    with workspace._database.write() as connection:
        connection.executemany(
            "INSERT INTO manifest_tags VALUES ('h/many', ?, ?)",
            [(f"t{number:05}", digest) for number in range(10_000)],
        )
    found: list[str] = []
    url: str | None = "/v2/h/many/tags/list"
    while url is not None:
        page = client.get(url)
        found += page.json()["tags"]
        url = page.links.get("next", {}).get("url")
    assert found == ["first", *(f"t{number:05}" for number in range(10_000))]


def test_heads_are_bounded(served: Served) -> None:
    filler = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(100))
    status, body = _raw(served, b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n" + filler + b"\r\n")
    assert (status, json.loads(body)["errors"][0]["code"]) == (431, "NAME_INVALID")
    status, _ = _raw(served, b"GET /v2/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 100_000))
    assert status == 431
    status, body = _raw(served, b"\x16\x03\x01 no HTTP\r\n\r\n")
    assert (status, "errors" in json.loads(body)) == (400, True)


def test_a_thousand_parameters_are_refused(client: httpx.Client) -> None:
    answer = client.get("/v2/_catalog?" + "&".join(f"a{number}=1" for number in range(1000)))
    assert (answer.status_code, code(answer)) == (400, "NAME_INVALID")


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_unsupported(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/v2/digits/manifests/1")
    assert (answer.status_code, code(answer)) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET, HEAD, PUT, DELETE"


def test_a_damaged_blob_is_said_to_be_damaged_and_mended_by_a_push(
    client: httpx.Client, workspace: Workspace
) -> None:
    data = b"whole" * 1000
    digest = push_blob(client, "h/damage", data)
    path = workspace.root / "store/blobs/sha256" / hashlib.sha256(data).hexdigest()
    path.chmod(0o644)
    path.write_bytes(b"Whole" + data[5:])
    url = f"/v2/h/damage/blobs/{digest}"
    while (answer := client.get(url)).status_code == 200:  # checked in the background
        assert answer.content != data
    assert (answer.status_code, code(answer)) == (500, "BLOB_DAMAGED")
    assert client.head(url).status_code == 404
    push_blob(client, "h/damage", data)
    assert client.get(url).content == data


def test_many_open_uploads_are_too_many(client: httpx.Client) -> None:
    opened = []
    while (answer := client.post("/v2/h/open/blobs/uploads/")).status_code == 202:
        opened.append(answer.headers["Location"])
        assert len(opened) <= 100
    assert (answer.status_code, code(answer)) == (429, "TOOMANYREQUESTS")
    for location in opened:
        assert client.delete(location).status_code == 204
    assert client.post("/v2/h/open/blobs/uploads/").status_code == 202
