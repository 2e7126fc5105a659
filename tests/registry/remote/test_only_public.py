"""A registry that a stranger named, as the base of an image, is at a public address or nowhere."""

from __future__ import annotations

from typing import Any

import httpcore
import pytest

from registry.errors import RemoteError
from registry.remote import addresses
from registry.remote.http import Connections
from registry.remote.urls import parse_url


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; nothing answers there."""
    found: list[str] = []

    def connect(self: object, host: str, *_args: Any, **_options: Any) -> None:
        found.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    return found


def _ask(*, only_public: bool) -> str:
    url = parse_url("https://registry.example/v2/")
    connections = Connections(url, only_public=only_public)
    try:
        with pytest.raises(RemoteError) as refused:
            connections.exchange("GET", url, {})
    finally:
        connections.close()
    return str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_an_address_of_this_network_is_not_connected_to(
    address: str, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port: [address])
    assert "no public address" in _ask(only_public=True)
    assert reached == []


def test_a_name_with_both_is_asked_at_its_public_address_and_looked_up_once(
    reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([["127.0.0.1", "93.184.215.14"]])
    monkeypatch.setattr(addresses, "resolve", lambda host, port: next(answers))
    _ask(only_public=True)
    assert reached == ["93.184.215.14"]


def test_whoever_is_beside_the_workspace_may_name_any(
    reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port: ["10.0.0.1"])
    _ask(only_public=False)
    assert reached == ["10.0.0.1"]


@pytest.mark.parametrize("only_public", [True, False])
def test_a_registry_whose_name_changes_its_meaning_leads_to_nothing_near(
    reached: list[str], monkeypatch: pytest.MonkeyPatch, only_public: bool
) -> None:
    meant = {"registry.example": "93.184.215.14", "inside.example": "127.0.0.1"}
    monkeypatch.setattr(addresses, "resolve", lambda host, port: [meant[host]])
    connections = Connections(parse_url("https://registry.example/v2/"), only_public=only_public)
    try:
        for url in ("https://registry.example/v2/", "https://inside.example/blob"):
            with pytest.raises(RemoteError):
                connections.exchange("GET", parse_url(url), {})
            meant["registry.example"] = "127.0.0.1"  # where a nearer place would be let in
    finally:
        connections.close()
    assert set(reached) == {"93.184.215.14"}
