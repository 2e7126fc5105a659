"""What the distribution specification 1.1 says that a registry MUST do; each test quotes it."""

from __future__ import annotations

import json

import httpx
import pytest

from registry import Workspace, media_types
from tests.runtime.registry_service.served import (
    code,
    descriptor,
    image_manifest,
    push_blob,
    push_image,
    put_manifest,
    sha256,
)

MISSING = "sha256:" + "0" * 64


def test_the_base_answers_200(client: httpx.Client) -> None:
    """end-1: "the registry MUST respond with 200 OK" when the API is there."""
    for path in ("/v2/", "/v2"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_a_manifest_comes_as_it_was_pushed(client: httpx.Client) -> None:
    """end-3, end-7: "the response body MUST be the manifest bytes"; "the Content-Type header MUST
    match the manifest's"; Docker-Content-Digest "MUST" be the digest; 201 with a Location."""
    push_blob(client, "c/manifest", b"{}")
    data = image_manifest(b"{}", []) + b"\n \n"
    pushed = put_manifest(client, "c/manifest", "a", data)
    assert (pushed.status_code, pushed.headers["Docker-Content-Digest"]) == (201, sha256(data))
    assert pushed.headers["Location"] == f"/v2/c/manifest/manifests/{sha256(data)}"
    for reference in ("a", sha256(data)):
        for method in ("GET", "HEAD"):
            answer = client.request(method, f"/v2/c/manifest/manifests/{reference}")
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == media_types.MANIFEST
            assert answer.headers["Docker-Content-Digest"] == sha256(data)
            assert answer.headers["Content-Length"] == str(len(data))
            assert answer.content == (data if method == "GET" else b"")


def test_a_manifest_is_pushed_by_digest_without_a_tag(client: httpx.Client) -> None:
    push_blob(client, "c/untagged", b"{}")
    data = image_manifest(b"{}", [])
    assert put_manifest(client, "c/untagged", sha256(data), data).status_code == 201
    assert client.get("/v2/c/untagged/tags/list").json() == {"name": "c/untagged", "tags": []}
    wrong = put_manifest(client, "c/untagged", MISSING, data)
    assert (wrong.status_code, code(wrong)) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "c/none/manifests/latest",
        f"c/none/manifests/{MISSING}",
        f"c/none/blobs/{MISSING}",
        "c/none/tags/list",
        "digits/manifests/nosuch",
        "digits/manifests/.INVALID_NAME",
        f"digits/blobs/{MISSING}",
        f"digits/manifests/{MISSING}",
        "digits/manifests/99",
    ],
)
def test_what_is_not_there_is_404(client: httpx.Client, method: str, path: str) -> None:
    """end-2, end-3: "If the blob [manifest] is not found, the response code MUST be 404"."""
    answer = client.request(method, f"/v2/{path}")
    assert answer.status_code == 404
    if method == "GET":
        assert code(answer) in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN")


def test_a_blob_is_sent_whole_and_in_part(client: httpx.Client) -> None:
    """end-2: "a successful response MUST contain the blob"; a Range "MUST" give 206, and 416 when
    it cannot be satisfied."""
    data = bytes(range(256)) * 20
    path = f"/v2/c/blob/blobs/{push_blob(client, 'c/blob', data)}"
    whole = client.get(path)
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["Docker-Content-Digest"] == sha256(data)
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in whole.headers["Cache-Control"]
    head = client.head(path)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(data)))
    spans = {"0-0": data[:1], "10-19": data[10:20], "5000-": data[5000:], "-7": data[-7:]}
    for span, part in {**spans, "5119-9999999": data[5119:]}.items():
        answer = client.get(path, headers={"Range": f"bytes={span}"})
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["Content-Range"].endswith(f"/{len(data)}")
    for span in ("5120-", "-0", "99999-100000"):
        answer = client.get(path, headers={"Range": f"bytes={span}"})
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */5120")
    for other in ("bytes=9-3", "bytes=-", "lines=1-2", "bytes=0-1,4-5", "bytes=x-y"):
        assert client.get(path, headers={"Range": other}).content == data
    tag = whole.headers["ETag"]
    for if_range, status in ((tag, 206), ('"other"', 200)):
        headers = {"Range": "bytes=0-4", "If-Range": if_range}
        assert client.get(path, headers=headers).status_code == status
    assert client.get(path, headers={"If-None-Match": f'W/"x", {tag}'}).status_code == 304


def test_a_blob_is_pushed_by_post_and_put(client: httpx.Client) -> None:
    """end-4a, end-6: POST "MUST" give 202 with a Location; PUT there gives 201 with a Location."""
    begun = client.post("/v2/c/upload/blobs/uploads/")
    assert begun.status_code == 202
    assert begun.headers["Docker-Upload-UUID"] in begun.headers["Location"]
    data = b"some bytes"
    ended = client.put(f"{begun.headers['Location']}?digest={sha256(data)}", content=data)
    assert ended.status_code == 201
    assert client.get(ended.headers["Location"]).content == data
    gone = client.get(begun.headers["Location"])
    assert (gone.status_code, code(gone)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_blob_is_pushed_in_chunks_in_order(client: httpx.Client) -> None:
    """end-5, end-13: each PATCH "MUST" give 202 with Location and Range; "If a chunk is uploaded
    out of order, the registry MUST respond with 416"; GET gives 204 and the Range."""
    location = client.post("/v2/c/chunks/blobs/uploads/").headers["Location"]
    first = client.patch(location, content=b"01234", headers={"Content-Range": "0-4"})
    assert (first.status_code, first.headers["Range"]) == (202, "0-4")
    for span in ("0-4", "6-10", "4-8", "100-104"):
        answer = client.patch(location, content=b"56789", headers={"Content-Range": span})
        assert (answer.status_code, code(answer)) == (416, "BLOB_UPLOAD_INVALID")
        assert (answer.headers["Range"], answer.headers["Location"]) == ("0-4", location)
    state = client.get(location)
    assert (state.status_code, state.headers["Range"]) == (204, "0-4")
    second = client.patch(location, content=b"56789", headers={"Content-Range": "5-9"})
    assert (second.status_code, second.headers["Range"]) == (202, "0-9")
    digest = sha256(b"0123456789ab")
    last = client.put(
        f"{location}?digest={digest}", content=b"ab", headers={"Content-Range": "10-11"}
    )
    assert last.status_code == 201
    assert client.get(last.headers["Location"]).content == b"0123456789ab"


def test_an_upload_is_given_up(client: httpx.Client) -> None:
    """end-14."""
    location = client.post("/v2/c/cancel/blobs/uploads/").headers["Location"]
    assert client.delete(location).status_code == 204
    assert client.get(location).status_code == 404
    assert client.patch(location, content=b"x").status_code == 404
    assert client.delete(location).status_code == 404


def test_a_blob_is_mounted_from_another_repository(client: httpx.Client) -> None:
    """end-11: 201 with the blob's Location; "If a registry does not support cross-repository
    mounting or is unable to mount the requested blob, it SHOULD return a 202"."""
    digest = push_blob(client, "c/source", b"to mount")
    begin = "/v2/c/target/blobs/uploads/"
    mounted = client.post(begin, params={"mount": digest, "from": "c/source"})
    assert mounted.status_code == 201
    assert client.get(mounted.headers["Location"]).content == b"to mount"
    for params in ({"mount": MISSING, "from": "c/source"}, {"mount": digest, "from": "c/other"}):
        assert client.post(begin, params=params).status_code == 202
    assert client.post(begin, params={"mount": digest, "from": "../.."}).status_code == 202
    assert client.post(begin, params={"mount": digest}).status_code == 202
    assert client.get(f"/v2/c/elsewhere/blobs/{digest}").status_code == 404


def test_tags_are_listed_in_order_and_in_pages(client: httpx.Client) -> None:
    """end-8: "the tags in the list MUST be in lexical order"; n and last page; "when n is zero, the
    list MUST be empty, and there MUST NOT be a Link"."""
    for tag in ("b", "a", "C", "v1.0_x-y"):
        push_image(client, "c/tags", tag, [])
    url = "/v2/c/tags/tags/list"
    assert client.get(url).json() == {"name": "c/tags", "tags": ["C", "a", "b", "v1.0_x-y"]}
    page = client.get(url, params={"n": 3})
    assert page.json()["tags"] == ["C", "a", "b"]
    following = client.get(page.links["next"]["url"])
    assert (following.json()["tags"], following.links) == (["v1.0_x-y"], {})
    assert client.get(url, params={"last": "a"}).json()["tags"] == ["b", "v1.0_x-y"]
    none = client.get(url, params={"n": 0})
    assert (none.json()["tags"], none.links) == ([], {})
    for n in ("-1", "x", "", "1e3", "9" * 30, "\u0663"):
        answer = client.get(url, params={"n": n})
        assert (answer.status_code, code(answer)) == (400, "PAGINATION_NUMBER_INVALID")


def test_repositories_are_listed(client: httpx.Client) -> None:
    push_image(client, "c/zz", "1", [])
    found = client.get("/v2/_catalog", params={"n": 1000}).json()["repositories"]
    assert {"digits", "c/zz"} <= set(found)
    assert found == sorted(found)
    page = client.get("/v2/_catalog", params={"n": 1})
    assert client.get(page.links["next"]["url"]).json()["repositories"][0] == found[1]


def test_referrers_are_an_index_with_a_filter(client: httpx.Client) -> None:
    """end-12: "the response MUST be 200 with an image index", also for an unknown subject;
    OCI-Filters-Applied names the filter; the subject may be missing and OCI-Subject is returned."""
    subject = image_manifest(b"{}", [])
    digest = sha256(subject)
    empty = client.get(f"/v2/c/refs/referrers/{digest}")
    assert (empty.status_code, empty.json()["manifests"]) == (200, [])
    assert empty.headers["Content-Type"] == media_types.INDEX
    push_blob(client, "c/refs", b"{}")
    about = {"subject": descriptor(subject, media_types.MANIFEST)}
    for kind in ("a/sbom", "a/signature"):
        data = image_manifest(b"{}", [], artifactType=kind, annotations={"k": kind}, **about)
        pushed = put_manifest(client, "c/refs", sha256(data), data)
        assert (pushed.status_code, pushed.headers["OCI-Subject"]) == (201, digest)
    found = client.get(f"/v2/c/refs/referrers/{digest}").json()
    assert (found["schemaVersion"], found["mediaType"]) == (2, media_types.INDEX)
    assert {item["artifactType"] for item in found["manifests"]} == {"a/sbom", "a/signature"}
    some = client.get(f"/v2/c/refs/referrers/{digest}", params={"artifactType": "a/sbom"})
    assert some.headers["OCI-Filters-Applied"] == "artifactType"
    (item,) = some.json()["manifests"]
    assert (item["artifactType"], item["annotations"]) == ("a/sbom", {"k": "a/sbom"})
    page = client.get(f"/v2/c/refs/referrers/{digest}", params={"n": 1})
    assert len(client.get(page.links["next"]["url"]).json()["manifests"]) == 1
    assert client.get("/v2/c/refs/referrers/latest").status_code == 400


def test_tags_manifests_and_blobs_are_deleted(client: httpx.Client) -> None:
    """end-9, end-10: 202; afterwards 404; deleting by digest takes the tags with it."""
    digest = push_image(client, "c/delete", "a", [b"layer of it"])
    put_manifest(client, "c/delete", "b", image_manifest(b"{}", [b"layer of it"]))
    assert client.delete("/v2/c/delete/manifests/a").status_code == 202
    assert client.get("/v2/c/delete/manifests/a").status_code == 404
    assert client.get(f"/v2/c/delete/manifests/{digest}").status_code == 200
    blob = f"/v2/c/delete/blobs/{sha256(b'layer of it')}"
    refused = client.delete(blob)
    assert (refused.status_code, code(refused)) == (403, "DENIED")
    assert client.delete(f"/v2/c/delete/manifests/{digest}").status_code == 202
    assert client.get(f"/v2/c/delete/manifests/{digest}").status_code == 404
    assert client.get("/v2/c/delete/manifests/b").status_code == 404
    assert client.delete(f"/v2/c/delete/manifests/{digest}").status_code == 404
    # Whoever got the manifest before it was deleted still gets the layer.
    assert client.get(blob).status_code == 200
    assert client.delete(blob).status_code == 202
    assert client.get(blob).status_code == 404
    assert client.delete(blob).status_code == 404


def test_an_index_needs_its_manifests(client: httpx.Client) -> None:
    child = image_manifest(b"{}", [b"child's layer"])
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.INDEX,
        "manifests": [descriptor(child, media_types.MANIFEST)],
    }
    index = json.dumps(document).encode()
    missing = put_manifest(client, "c/index", "1", index, media_types.INDEX)
    assert (missing.status_code, code(missing)) == (400, "MANIFEST_BLOB_UNKNOWN")
    push_image(client, "c/index", "child", [b"child's layer"])
    assert put_manifest(client, "c/index", "1", index, media_types.INDEX).status_code == 201
    refused = client.delete(f"/v2/c/index/manifests/{sha256(child)}")
    assert (refused.status_code, code(refused)) == (403, "DENIED")


def test_images_of_the_workspace_are_tags_that_never_change(
    client: httpx.Client, workspace: Workspace
) -> None:
    image = workspace.images.get("digits")
    assert client.get("/v2/digits/tags/list").json()["tags"][:2] == ["1", "latest"]
    for tag in ("1", "latest"):
        answer = client.get(f"/v2/digits/manifests/{tag}")
        assert answer.headers["Docker-Content-Digest"] == image.digest
        for item in (answer.json()["config"], *answer.json()["layers"]):
            blob = client.get(f"/v2/digits/blobs/{item['digest']}")
            assert sha256(blob.content) == item["digest"]
    push_blob(client, "digits", b"{}")
    other = image_manifest(b"{}", [])
    for tag in ("1", "2", "007", "latest"):
        refused = put_manifest(client, "digits", tag, other)
        assert (refused.status_code, code(refused)) == (403, "DENIED")
        assert "push another tag" in refused.text
        assert client.delete(f"/v2/digits/manifests/{tag}").status_code == 403
    assert put_manifest(client, "digits", "mine", other).status_code == 201
    refused = client.delete(f"/v2/digits/manifests/{image.digest}")
    assert (refused.status_code, code(refused)) == (403, "DENIED")
    again = client.get("/v2/digits/manifests/1")
    tagged = put_manifest(client, "digits", "prod", again.content)
    assert (tagged.status_code, tagged.headers["Docker-Content-Digest"]) == (201, image.digest)
