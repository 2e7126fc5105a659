"""With ``reach=public`` nothing but public addresses is connected to: whatever a name means by
then, however an address is written, and wherever a server sends requests. Sockets and servers are
real; the internet is one host (outside.py)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.datastores import Datastore as Record
from registry.datastores import Kind
from runtime.datastores import (
    Datastore,
    InsideError,
    RefusedError,
    UnreachableError,
)
from runtime.datastores.opening import open_files
from runtime.datastores.reach import PublicOnly, Resolve
from tests.runtime.datastores.conftest import Place, s3_place, sftp_place
from tests.runtime.datastores.evil import evil_s3
from tests.runtime.datastores.outside import OTHER, PUBLIC, Inside, Rebinding, inside, internet
from tests.runtime.datastores.servers import Moto, Sshd

NAME = "s3.us-east-1.amazonaws.com"
"""Of another name moto would take the first part for a bucket."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2nIpyNrrMLfVW6zmmjPxXCLrVZpLTUYFWQ5m0yPBzU"
INSIDE = (
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "::",
    "fe80::1%lo",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
)
WRITTEN = ("127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "0", "localhost")


@pytest.fixture
def here() -> Iterator[Inside]:
    with inside() as listening:
        yield listening


def _opened(
    tmp_path: Path, kind: Kind, where: str, port: int, resolve: Resolve | None, **more: str
) -> Datastore:
    """``where``: a host. Without ``resolve`` it may be anywhere."""
    if kind == "sftp":
        settings = {"host": where, "port": str(port), "user": "ada", "host_key": KEY}
        secrets = {"password": b"x"}
    else:
        shown = f"[{where}]" if ":" in where else where
        settings, secrets = {"bucket": "data", "endpoint": f"http://{shown}:{port}"}, {}
    if resolve is not None:
        settings |= {"reach": "public", **more}
    record = Record("d", kind, settings, False, "")
    files = open_files(record, secrets, tmp_path, resolve=resolve or Rebinding([[]]))
    return Datastore(record, files, waits_s=())


def _numbers(host: str, port: int) -> list[str]:
    """What the system makes of a host, without the network."""
    flags = 0 if host == "localhost" else socket.AI_NUMERICHOST
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [str(entry[4][0]) for entry in found]


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_name_that_turns_inside_after_it_was_looked_up_leads_to_where_it_was(
    kind: Kind, tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = internet(monkeypatch, None)
    turning = Rebinding([[PUBLIC], ["127.0.0.1"]])
    with _opened(tmp_path, kind, "turning.example", here.port, turning) as datastore:
        with pytest.raises(UnreachableError):
            datastore.ls()
        assert (set(reached), turning.asked) == ({PUBLIC}, ["turning.example"])
        datastore.close()
        with pytest.raises(InsideError):  # the next connection looks again
            datastore.ls()
    assert set(reached) == {PUBLIC}
    assert not here.was_connected


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_without_it_the_same_place_is_connected_to(
    kind: Kind, tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.datastores.ssh.server.CONNECT_S", 0.2)
    monkeypatch.setattr("runtime.datastores.s3.READ_S", 0.2)
    with _opened(tmp_path, kind, "127.0.0.1", here.port, None) as datastore:
        with pytest.raises(UnreachableError):
            datastore.ls()
        assert here.was_connected


@pytest.mark.parametrize(
    ("kind", "address"),
    [*(("sftp", each) for each in INSIDE), *(("s3", each) for each in INSIDE[-3:])],
)
def test_a_name_with_one_address_inside_is_not_connected_to(
    kind: Kind, address: str, tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = internet(monkeypatch, None)
    both = Rebinding([[PUBLIC, address]])
    with (
        _opened(tmp_path, kind, "both.example", here.port, both) as datastore,
        pytest.raises(InsideError, match=r"'both\.example' is at no public address"),
    ):
        datastore.ls()
    assert reached == []


@pytest.mark.parametrize("where", [*WRITTEN, "::1", "::ffff:7f00:1", "64:ff9b::7f00:1"])
@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_an_address_is_one_however_it_is_written(
    kind: Kind, where: str, tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = internet(monkeypatch, None)
    with pytest.raises(InsideError), _opened(tmp_path, kind, where, here.port, _numbers) as opened:
        opened.ls()
    assert reached == []
    assert not here.was_connected


def test_a_bucket_is_no_part_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name goes before the host."""
    reached = internet(monkeypatch, None)
    more = {"bucket": "169.254.169", "addressing": "virtual"}
    nowhere = Rebinding([[PUBLIC]])
    with _opened(tmp_path, "s3", "254", 80, nowhere, **more) as opened, pytest.raises(InsideError):
        opened.ls()
    assert reached == []


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{}/x", "http://169.254.169.254/latest/", "http://localhost:{}/"]
)
def test_a_server_outside_sends_no_request_inside(
    target: str, tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = internet(monkeypatch, "127.0.0.1")
    with evil_s3() as evil:
        location = {"Location": target.format(here.port), "x-amz-bucket-region": "eu-west-1"}
        evil.answer = lambda method, path: (307, location, b"")
        outside = Rebinding([[PUBLIC]])
        with (
            _opened(tmp_path, "s3", "outside.example", evil.port, outside) as opened,
            pytest.raises(RefusedError, match="sends requests elsewhere"),
        ):
            opened.ls()
        assert evil.requests
    assert set(reached) == {PUBLIC}
    assert not here.was_connected


def test_a_proxy_of_the_environment_looks_nothing_up_for_it(
    tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    internet(monkeypatch, None)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{here.port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{here.port}")
    outside = Rebinding([[PUBLIC]])
    with (
        _opened(tmp_path, "s3", "outside.example", 80, outside) as opened,
        pytest.raises(UnreachableError),
    ):
        opened.ls()
    assert not here.was_connected


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254"])
def test_no_host_key_is_asked_for_inside(
    tmp_path: Path, here: Inside, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    reached = internet(monkeypatch, None)
    workspace = Workspace.init(tmp_path / "ws", base="none")
    settings = {"host": "turning.example", "port": str(here.port), "user": "ada"}
    turning = Rebinding([[PUBLIC], [address]])
    for expected in (UnreachableError, InsideError):
        with pytest.raises(expected):
            Datastore.attach(
                workspace,
                "d",
                "sftp",
                {**settings, "reach": "public"},
                {"password": b"x"},
                known_hosts=None,
                resolve=turning,
            )
    assert set(reached) == {PUBLIC}
    assert not here.was_connected
    assert [each.name for each in workspace.datastores.list()] == ["workspace"]


@pytest.mark.parametrize("kind", ["sftp", "s3"])
def test_a_public_server_serves_as_any_other(
    kind: Kind,
    tmp_path: Path,
    sshd: Sshd,
    moto: Moto,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = _at_a_name(sftp_place(tmp_path, sshd) if kind == "sftp" else s3_place(moto))
    reached = internet(monkeypatch, "127.0.0.1")
    (tmp_path / "a.txt").write_text("a")
    workspace = Workspace.init(tmp_path / "ws", base="none")
    resolve = Rebinding([[PUBLIC]])
    with Datastore.attach(
        workspace, "d", place.kind, place.settings, place.secrets, resolve=resolve
    ) as datastore:
        assert datastore.upload(tmp_path / "a.txt").sent == ("a.txt",)
        assert [item.path for item in datastore.ls()] == ["a.txt"]
    assert set(reached) == {PUBLIC}
    assert set(resolve.asked) == {NAME}


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(UnreachableError, match="there is no host 'h'; check its name"):
        PublicOnly(Rebinding([[]])).lookup("h", 1)


def test_where_the_first_address_is_deaf_the_next_is_taken(
    tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = internet(monkeypatch, "127.0.0.1", deaf=OTHER)
    place = _at_a_name(sftp_place(tmp_path, sshd))
    two = Rebinding([[OTHER, PUBLIC]])
    record = Record("d", place.kind, place.settings, False, "")
    files = open_files(record, place.secrets, tmp_path, resolve=two)
    with Datastore(record, files, waits_s=()) as datastore:
        assert datastore.ls() == []
    assert reached == [OTHER, PUBLIC]


def _at_a_name(place: Place) -> Place:
    settings = {**place.settings, "reach": "public"}
    if place.kind == "sftp":
        settings["host"] = NAME
    else:
        settings["endpoint"] = settings["endpoint"].replace("127.0.0.1", NAME)
    return Place(place.kind, settings, place.secrets)
