"""Who comes in: tokens, loopback, TLS, browsers."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from registry import Workspace
from registry.distribution import Distribution
from runtime.errors import BadValueError
from runtime.registry_service.config import ServiceConfig, check_exposure, is_loopback
from runtime.registry_service.door import token_of
from runtime.registry_service.paths import METHODS, Kind
from tests.runtime.registry_service.served import Served, code, push_image, serving

NOWHERE = "sha256:" + "0" * 64
PATHS = {
    Kind.BASE: "/v2/",
    Kind.CATALOG: "/v2/_catalog",
    Kind.TAGS: "/v2/a/tags/list",
    Kind.REFERRERS: f"/v2/a/referrers/{NOWHERE}",
    Kind.MANIFEST: "/v2/a/manifests/1",
    Kind.BLOB: f"/v2/a/blobs/{NOWHERE}",
    Kind.UPLOADS: "/v2/a/blobs/uploads/",
    Kind.UPLOAD: f"/v2/a/blobs/uploads/{'0' * 32}",
}
ROUTES = [(m, path) for kind, path in PATHS.items() for m in METHODS[kind] if m != "HEAD"]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace that has had a token, which is revoked."""
    workspace = Workspace.init(tmp_path_factory.mktemp("closed") / "ws", base="none")
    tokens = Distribution.open(workspace.root).tokens
    tokens.create("old", "contributor", None)
    tokens.revoke("old")
    return workspace


@pytest.fixture(scope="module")
def guarded(closed: Workspace) -> Iterator[Served]:
    """Its registry."""
    with serving(closed.root) as served:
        yield served


def test_every_route_has_a_path_here() -> None:
    assert set(PATHS) == set(Kind) - {Kind.HEALTH}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_answers_without_a_live_token(
    guarded: Served, closed: Workspace, method: str, path: str
) -> None:
    tokens = Distribution.open(closed.root, clock=lambda: 0.0).tokens
    name = f"{method}{abs(hash(path))}"
    expired, revoked = (
        tokens.create(f"{name}e", "contributor", 1),
        tokens.create(f"{name}r", "contributor", None),
    )
    tokens.revoke(f"{name}r")
    basic = base64.b64encode(b"x:ify_wrong").decode()
    with guarded.client() as client:
        for given in (
            None,
            "Bearer",
            "Bearer ify_wrong",
            f"Bearer {expired}",
            f"Bearer {revoked}",
            f"Basic {basic}",
            "Basic !!!",
            "Basic " + base64.b64encode(b"\xff\xfe").decode(),
            "Digest x",
        ):
            headers = {} if given is None else {"Authorization": given}
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, code(answer)) == (401, "UNAUTHORIZED")
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="inferry"'
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_reader_changes_nothing_through_any_route(
    guarded: Served, closed: Workspace, method: str, path: str
) -> None:
    secret = Distribution.open(closed.root).tokens.create(
        f"r{method}{abs(hash(path))}", "puller", 60
    )
    with guarded.client() as client:
        basic = httpx.BasicAuth("anyone", secret)
        for auth in ({"headers": {"Authorization": f"Bearer {secret}"}}, {"auth": basic}):
            answer = client.request(method, path, **auth)
            if method == "GET":
                assert answer.status_code in (200, 404)
            else:
                assert (answer.status_code, code(answer)) == (403, "DENIED")


def test_a_writer_pushes_until_the_token_is_revoked(guarded: Served, closed: Workspace) -> None:
    tokens = Distribution.open(closed.root).tokens
    auth = httpx.BasicAuth("ci", tokens.create("ci", "contributor", None))
    with guarded.client(auth=auth) as client:
        push_image(client, "a", "1", [b"layer"])
        tokens.revoke("ci")
        assert client.get("/v2/").status_code == 401


def test_the_first_token_closes_a_registry_that_runs(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    with serving(workspace.root) as served, served.client() as client:
        assert "everyone on this machine" in served.said[0]
        assert client.get("/v2/").status_code == 200
        Distribution.open(workspace.root).tokens.create("first", "puller", None)
        assert client.get("/v2/").status_code == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:5000", "10.0.0.1", "127.0.0.1.evil.example", "a@localhost", ""],
)
def test_a_name_that_is_rebound_to_this_machine_is_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/v2/", headers={"Host": host})
    assert (answer.status_code, code(answer)) == (403, "DENIED")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.9:80", "[::1]:5"]
)
def test_names_of_this_machine_are_taken(client: httpx.Client, host: str) -> None:
    assert client.get("/v2/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] != "GET"])
def test_another_site_changes_nothing(
    client: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=headers)
    assert (answer.status_code, code(answer)) == (403, "DENIED")


def test_a_proxy_has_a_public_name(closed: Workspace) -> None:
    options = ("--public-host", "models.example")
    with serving(closed.root, *options) as served, served.client() as client:
        assert client.get("/v2/", headers={"Host": "models.example"}).status_code == 401
        assert client.get("/v2/", headers={"Host": "other.example"}).status_code == 403


def test_tls_serves_the_same_bytes(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    layer = bytes(range(256)) * 20_000
    with serving(workspace.root, "--tls-cert", str(cert), "--tls-key", str(key)) as served:
        assert served.url.startswith("https://")
        with served.client(verify=context) as client:
            push_image(client, "a", "1", [layer])
            digest = client.get("/v2/a/manifests/1").json()["layers"][0]["digest"]
            assert client.get(f"/v2/a/blobs/{digest}").content == layer
            part = client.get(f"/v2/a/blobs/{digest}", headers={"Range": "bytes=300000-900000"})
            assert part.content == layer[300_000:900_001]
            assert client.head(f"/v2/a/blobs/{digest}").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "registry.example"])
def test_beyond_this_machine_it_needs_tokens_and_tls(host: str) -> None:
    pem = Path("x.pem")
    with pytest.raises(BadValueError, match="token create"):
        check_exposure(ServiceConfig(host=host, tls_cert=pem, tls_key=pem), has_tokens=False)
    with pytest.raises(BadValueError, match="--insecure-http"):
        check_exposure(ServiceConfig(host=host), has_tokens=True)
    with pytest.raises(BadValueError, match="token create"):
        check_exposure(ServiceConfig(host=host, is_insecure=True), has_tokens=False)
    check_exposure(ServiceConfig(host=host, is_insecure=True), has_tokens=True)
    check_exposure(ServiceConfig(host=host, tls_cert=pem, tls_key=pem), has_tokens=True)
    with pytest.raises(BadValueError, match="both"):
        check_exposure(ServiceConfig(tls_cert=pem), has_tokens=False)
    check_exposure(ServiceConfig(), has_tokens=False)


def test_loopback_is_known_by_every_spelling() -> None:
    for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "LocalHost."):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "localhost.example", "128.0.0.1", "", "x"):
        assert not is_loopback(host)


def test_tokens_are_found_in_both_schemes() -> None:
    def basic(text: bytes) -> str:
        return "Basic " + base64.b64encode(text).decode()

    assert token_of("Bearer ify_x") == "ify_x"
    assert token_of("bearer  ify_x ") == "ify_x"
    assert token_of(basic(b"me:ify_x")) == "ify_x"
    assert token_of(basic(b":ify_x:y")) == "ify_x:y"
    for nothing in (None, "", "Basic", "Bearer ", basic(b"no colon"), basic(b"me:"), "Basic \xff"):
        assert token_of(nothing) is None
