"""What a registry's answers may make us do: addresses, URLs, challenges, waiting. All pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RemoteError
from registry.remote.addresses import Reach, is_loopback_host, limit_of, reach_of, within
from registry.remote.challenge import Challenge, parse_challenges
from registry.remote.client import RegistryClient, Request
from registry.remote.refusals import registry_words
from registry.remote.retrying import retry_after_s, wait_s
from registry.remote.urls import followed, parse_url, registry_url


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("192.168.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00:ec2::254", Reach.PRIVATE),
        ("fec0::1", Reach.PRIVATE),
        ("64:ff9b:1::7f00:1", Reach.NEVER),
        ("::7f00:1", Reach.NEVER),
        ("::ffff:0:7f00:1", Reach.NEVER),
        ("127.8.9.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("::ffff:169.254.169.254", Reach.NEVER),
        ("64:ff9b::a9fe:a9fe", Reach.NEVER),
        ("64:ff9b::7f00:1", Reach.LOOPBACK),
        ("2002:7f00:1::", Reach.LOOPBACK),
        ("169.254.169.254", Reach.NEVER),
        ("fe80::1%eth0", Reach.NEVER),
        ("0.0.0.0", Reach.NEVER),
        ("::", Reach.NEVER),
        ("224.0.0.1", Reach.NEVER),
        ("255.255.255.255", Reach.NEVER),
    ],
)
def test_how_near_an_address_is(address: str, reach: Reach) -> None:
    assert reach_of(address) == reach


def test_a_registry_leads_only_as_near_as_it_is() -> None:
    all_of = ["8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254"]
    assert within(all_of, limit_of(["1.1.1.1"])) == all_of[:1]
    assert within(all_of, limit_of(["10.9.9.9"])) == all_of[:2]
    assert within(all_of, limit_of(["127.0.0.1"])) == all_of[:3]
    assert limit_of(["127.0.0.1", "1.1.1.1"]) == Reach.PUBLIC
    assert limit_of(["169.254.1.1"]) == Reach.PRIVATE


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_hosts_that_are_this_machine(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host", ["0x7f.1", "2130706433", "localhost.example", "10.0.0.1", "0.0.0.0"]
)
def test_hosts_that_are_not_known_to_be_this_machine(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    ("registry", "location", "leads_to"),
    [
        ("https", "https://storage.example/x?s=1", "https://storage.example/x"),
        ("https", "/y", "https://r.example/y"),
        ("https", "//other.example/y", "https://other.example/y"),
        ("https", "http://storage.example/x", None),
        ("https", "http://127.0.0.1/x", None),
        ("http", "http://r.example/x", "http://r.example/x"),
        ("http", "http://other.example/x", None),
        ("http", "https://other.example/x", "https://other.example/x"),
        ("https", "gopher://x/", None),
        ("https", "https://a b/", None),
        ("https", "https://x/\r\nX: y", None),
    ],
)
def test_where_a_registry_may_send_us(registry: str, location: str, leads_to: str | None) -> None:
    base = registry_url("r.example", registry)
    if leads_to is not None:
        url = followed(base, location, base)
        assert str(url) == leads_to
        return
    with pytest.raises(RemoteError):
        followed(base, location, base)


@given(st.text(max_size=200))
def test_any_location_is_followed_or_refused(location: str) -> None:
    base = registry_url("r.example:5000", "https")
    try:
        url = followed(base, location, base)
    except RemoteError:
        return
    assert url.scheme == "https"
    assert url.target.isascii()
    assert url.target.isprintable()
    assert " " not in url.target


def test_urls_are_read() -> None:
    url = parse_url("https://[::1]:5000/a?b=c#d")
    assert (url.host, url.port, url.target, url.authority) == ("::1", 5000, "/a?b=c", "[::1]:5000")


def test_challenges_are_read() -> None:
    both = 'Bearer realm="https://a/t",service="s, x",scope="repository:a:pull,push", Basic realm=r'
    assert parse_challenges([both]) == [
        Challenge(
            "bearer",
            {"realm": "https://a/t", "service": "s, x", "scope": "repository:a:pull,push"},
        ),
        Challenge("basic", {"realm": "r"}),
    ]
    assert parse_challenges(["Negotiate", 'Basic realm="a\\"b"']) == [
        Challenge("negotiate", {}),
        Challenge("basic", {"realm": 'a"b'}),
    ]


@given(st.lists(st.text(alphabet='aB ="\\,;-\t\x00', max_size=60), max_size=3))
def test_any_challenge_is_read_or_left(headers: list[str]) -> None:
    parse_challenges(headers)


def test_a_long_challenge_is_read_in_no_time() -> None:
    assert len(parse_challenges(['a="' + '\\"' * 100_000, "x " * 100_000])) < 10_000


def test_waiting_grows_and_ends() -> None:
    assert [wait_s(n, None) for n in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, None]
    assert wait_s(1, 9.0) == 9.0
    assert wait_s(1, 3600.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("Thu, 26 Nov 2026 16:00:30 GMT", 30.0),
        ("Thu, 26 Nov 2026 15:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("9" * 5000, 999_999_999.0),
        ("\u0667", None),
    ],
)
def test_retry_after_is_read(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, datetime(2026, 11, 26, 16, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"errors":7}', b'{"errors":[7]}', b"[" * 60_000, b'{"errors":{}}'],
)
def test_errors_without_words_have_none(body: bytes) -> None:
    assert registry_words(body) == ""


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1:1", "nothing listens at 127.0.0.1:1"),
        ("no-such-host.invalid", "there is no host no-such-host.invalid"),
    ],
)
def test_what_cannot_be_reached_is_said(host: str, message: str) -> None:
    request = Request("GET", "/v2/", (), "the registry")
    with RegistryClient(host) as client, pytest.raises(RemoteError, match=message):
        client.send(request)
