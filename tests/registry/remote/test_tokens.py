"""Logins: tokens are fetched, kept and renewed; a password goes nowhere it should not."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from registry.blobs import BlobStore
from registry.errors import RemoteError
from registry.platforms import Platform
from registry.remote.credentials import Credentials
from registry.remote.pulling import list_tags, pull_image
from tests.registry.remote.conftest import FakeTime
from tests.registry.remote.hostile_registry import Exchange, HostileRegistry
from tests.registry.remote.small_images import nothing, put_image

PASSWORD = "correct-horse"
KEYS = Credentials("me", PASSWORD)
BASIC = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
TAGS = r"/v2/x/tags/list\?n=1000"


class Tokens:
    """A token service beside the registry, and a registry that wants its tokens."""

    def __init__(self, registry: HostileRegistry, realm: str | None = None) -> None:
        self.issued = 0
        self.asked: list[dict[str, list[str]]] = []
        self.valid: set[str] = set()
        self._realm = realm or f"http://{registry.host}/token"
        registry.on("GET", r"/token\?.*", self._issue)

    def guard(self, exchange: Exchange) -> bool:
        """Whether it may pass; else it is answered."""
        if not exchange.path.startswith("/v2/x/"):
            return True
        if (exchange.headers.get("Authorization") or "").removeprefix("Bearer ") in self.valid:
            return True
        challenge = f'Bearer realm="{self._realm}",service="s",scope="repository:x:pull"'
        exchange.reply(401, headers={"WWW-Authenticate": challenge})
        return False

    def _issue(self, exchange: Exchange) -> None:
        if exchange.headers.get("Authorization") not in (None, BASIC):
            exchange.reply(401)
            return
        self.asked.append(parse_qs(urlsplit(exchange.path).query))
        self.issued += 1
        token = f"token-{self.issued}"
        self.valid = {token}
        exchange.reply(200, json.dumps({"token": token, "expires_in": 60}).encode())


def test_a_token_is_kept_and_renewed_when_it_expires(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    tokens, digest = Tokens(registry), put_image(theirs, [b"a", b"b", b"c"])
    registry.serve(theirs, **{"1": digest})
    registry.guard = tokens.guard
    options = time.options(KEYS)
    assert pull_image(f"{registry.host}/x:1", Platform(), ours, nothing, options=options)
    assert tokens.issued == 1
    assert tokens.asked == [{"service": ["s"], "scope": ["repository:x:pull"]}]
    sent = {
        a
        for a, line in zip(registry.authorizations, registry.seen, strict=True)
        if "/token" in line
    }
    assert sent == {BASIC}
    given = {
        a
        for a, line in zip(registry.authorizations, registry.seen, strict=True)
        if "/blobs/" in line
    }
    assert given == {"Bearer token-1"}


def test_a_token_that_is_refused_too_soon_is_renewed_once(
    registry: HostileRegistry, time: FakeTime
) -> None:
    tokens = Tokens(registry)
    link = {"Link": '</v2/x/tags/list?last=a>; rel="next"'}

    def first(exchange: Exchange) -> None:
        if tokens.guard(exchange):
            tokens.valid = set()  # revoked
            exchange.reply(200, b'{"tags":["a"]}', link)

    def second(exchange: Exchange) -> None:
        if tokens.guard(exchange):
            exchange.reply(200, b'{"tags":["b"]}')

    registry.on("GET", TAGS, first)
    registry.on("GET", r"/v2/x/tags/list\?last=a", second)
    assert list_tags(f"{registry.host}/x", options=time.options()) == ["a", "b"]
    assert tokens.issued == 2


def test_401_for_ever_ends(registry: HostileRegistry, time: FakeTime) -> None:
    tokens = Tokens(registry)

    def never(exchange: Exchange) -> None:
        tokens.valid = set()
        tokens.guard(exchange)

    registry.on("GET", TAGS, never)
    with pytest.raises(RemoteError, match=f"401.*docker login {registry.host}") as refused:
        list_tags(f"{registry.host}/x", options=time.options(KEYS))
    assert refused.value.status == 401
    assert tokens.issued == 1


@pytest.mark.parametrize(
    ("realm", "message"),
    [
        ("http://example.org/token", "only https is followed"),
        ("http://169.254.169.254/token", "only https is followed"),
        ("https://169.254.169.254/token", "never address"),
        ("file:///etc/passwd", "only https is followed"),
        ("", "not says from where"),
    ],
)
def test_a_realm_elsewhere_gets_no_password(
    registry: HostileRegistry, time: FakeTime, realm: str, message: str
) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    registry.give(TAGS, status=401, headers=challenge)
    with pytest.raises(RemoteError, match=message) as refused:
        list_tags(f"{registry.host}/x", options=time.options(KEYS))
    assert PASSWORD not in str(refused.value)


def test_a_redirect_takes_no_password_along(
    registry: HostileRegistry, theirs: BlobStore, ours: BlobStore, time: FakeTime
) -> None:
    digest = put_image(theirs, [b"x"])
    with HostileRegistry() as storage:
        storage.serve(theirs)

        def guarded(exchange: Exchange) -> None:
            if exchange.headers.get("Authorization") != BASIC:
                exchange.reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            else:
                place = f"http://{storage.host}{exchange.path}"
                exchange.reply(307, headers={"Location": place})

        registry.serve(theirs, **{"1": digest})
        registry.on("GET", "/v2/x/blobs/.*", guarded)
        ref = f"{registry.host}/x:1"
        pull_image(ref, Platform(), ours, nothing, options=time.options(KEYS))
        assert len(storage.seen) == 2
        assert set(storage.authorizations) == {None}
        assert BASIC in registry.authorizations


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"token":7}', b'{"token":"a\\r\\nX: y"}', b'{"token":"\\u00e9"}', b"{" * 99],
)
def test_tokens_that_are_none_are_refused(
    registry: HostileRegistry, time: FakeTime, body: bytes
) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/t"'}
    registry.give(TAGS, status=401, headers=challenge)
    registry.give(r"/t\?.*", body)
    with pytest.raises(RemoteError, match="no token that can be read"):
        list_tags(f"{registry.host}/x", options=time.options())


def test_a_registry_that_repeats_our_password_is_not_quoted(
    registry: HostileRegistry, time: FakeTime
) -> None:
    def echo(exchange: Exchange) -> None:
        said = f"you sent {exchange.headers.get('Authorization')}, which is {PASSWORD}"
        body = json.dumps({"errors": [{"code": "DENIED", "message": said}]}).encode()
        is_new = exchange.headers.get("Authorization") is None
        headers = {"WWW-Authenticate": 'Basic realm="r"'} if is_new else {}
        exchange.reply(401 if is_new else 403, body, headers)

    registry.on("GET", TAGS, echo)
    with pytest.raises(RemoteError, match=r"you sent Basic \*\*\*, which is \*\*\*") as refused:
        list_tags(f"{registry.host}/x", options=time.options(KEYS))
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(KEYS)


def test_an_identity_token_is_exchanged(registry: HostileRegistry, time: FakeTime) -> None:
    forms: list[bytes] = []
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/oauth",service="s"'}

    def exchange_it(exchange: Exchange) -> None:
        forms.append(exchange.body())
        exchange.reply(200, b'{"access_token":"abc","expires_in":300}')

    def tags(exchange: Exchange) -> None:
        if exchange.headers.get("Authorization") == "Bearer abc":
            exchange.reply(200, b'{"tags":["a"]}')
        else:
            exchange.reply(401, headers=challenge)

    registry.on("POST", "/oauth", exchange_it)
    registry.on("GET", TAGS, tags)
    keys = Credentials(identity_token="long-lived")
    assert list_tags(f"{registry.host}/x", options=time.options(keys)) == ["a"]
    assert parse_qs(forms[0].decode())["refresh_token"] == ["long-lived"]
