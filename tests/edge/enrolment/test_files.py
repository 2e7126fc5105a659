"""What is written for devices and brokers, and how."""

from __future__ import annotations

import os
import pwd
import stat
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.agent.config import load, parse
from edge.enrolment import Authority, DeviceSettings, broker_files, device_files, write_files
from edge.enrolment.device_files import agent_toml
from edge.enrolment.files import PLAIN, SECRET, File, write_whole
from edge.errors import EnrolmentError

SETTINGS = DeviceSettings(
    "hub.example",
    b"signing key",
    server_name='broker "7"',
    keepalive_s=900,
    registry_url="https://hub.example:5000",
    registry_token="secret",
    registry_ca=b"ca",
    state="/srv/edge",
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_agent_reads_what_enrolment_writes(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    write_files(tmp_path / "device", device_files(authority, "press-7", SETTINGS))
    config = load(tmp_path / "device/agent.toml")
    assert config.device == "press-7"
    assert (config.broker.host, config.broker.port) == ("hub.example", 8883)
    assert (config.broker.server_name, config.broker.keepalive_s) == ('broker "7"', 900)
    assert config.state == Path("/srv/edge")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(server_name=texts, state=texts.filter(lambda text: "\0" not in text))
def test_the_agent_reads_any_text_as_it_was_given(server_name: str, state: str) -> None:
    settings = replace(SETTINGS, server_name=server_name, state=f"/{state}")
    config = parse(agent_toml("press-7", settings), Path("/etc/agent.toml"))
    assert config.broker.server_name == server_name
    assert config.state == Path(f"/{state}")


def test_a_path_that_is_no_text_is_one_clear_line_and_issues_nothing(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    with pytest.raises(EnrolmentError, match="no UTF-8 text"):
        device_files(authority, "a", replace(SETTINGS, state=os.fsdecode(b"/srv/\xff")))
    assert not (tmp_path / "ca/issued").exists()


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    write_files(tmp_path / "device", device_files(authority, "a", SETTINGS))
    write_files(tmp_path / "device.tar", device_files(authority, "a", SETTINGS))
    own = tmp_path / "device/identity"
    assert mode(own / "device.key") == mode(own / "registry-token") == SECRET
    assert mode(own / "device.pem") == PLAIN
    assert mode(tmp_path / "device.tar") == SECRET
    with tarfile.open(tmp_path / "device.tar") as archive:
        modes = {one.name: one.mode for one in archive}
    assert modes["identity/device.key"] == modes["identity/registry-token"] == SECRET
    assert set(modes) == {
        *("agent.toml", "identity/device.pem", "identity/device.key", "identity/ca.pem"),
        *("identity/signing.pub", "identity/registry-token", "identity/registry-ca.pem"),
    }


def test_an_archive_unpacks_to_what_a_folder_has(tmp_path: Path) -> None:
    files = {"a": File(b"1"), "b/c": File(b"2", SECRET)}
    write_files(tmp_path / "x.tar", files)
    write_files(tmp_path / "x", files)
    with tarfile.open(tmp_path / "x.tar") as archive:
        archive.extractall(tmp_path / "y", filter="data")
    for name in files:
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "a", b"old", PLAIN)

    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(EnrolmentError, match="No space left"):
        write_files(tmp_path, {"a": File(b"new")})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_what_a_folder_cannot_hold_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnrolmentError, match="cannot be written"):
        write_files(tmp_path / "file", {"a": File(b"")})


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_broker_s_key_belongs_to_the_broker(tmp_path: Path) -> None:
    write_files(tmp_path, {"key": File(b"", SECRET, owner="nobody")})
    assert (tmp_path / "key").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert mode(tmp_path / "key") == SECRET
    write_files(tmp_path, {"key": File(b"", SECRET, owner="no-such-user")})
    assert (tmp_path / "key").stat().st_uid == 0


def test_a_path_that_mosquitto_cannot_take_is_refused(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "ca")
    with pytest.raises(EnrolmentError, match="no path with spaces"):
        broker_files(authority, ["x"], folder=PurePosixPath("/etc/my broker"))
