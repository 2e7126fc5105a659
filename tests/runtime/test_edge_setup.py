from __future__ import annotations

import json
import logging
import stat
import tarfile
from pathlib import Path

import pytest

from edge.agent.config import load
from registry.distribution import Distribution
from runtime.edge_hub import Address, hub_identity, hub_logging, sole_hub
from runtime.errors import BadValueError
from tests.runtime.conftest import Cli

ENROLL = ("edge", "enroll", "press-1", "--broker", "hub.example", "--registry", "https://r:5000")


def test_a_device_gets_all_that_an_agent_reads(cli: Cli, tmp_path: Path) -> None:
    done = cli(*ENROLL, "--out", "d", "--tag", "site=x", "--state", "state", "--keepalive-s", "900")
    assert done.code == 0, done.stderr
    config = load(tmp_path / "d" / "agent.toml")
    assert (config.device, config.broker.host, config.broker.port) == (
        "press-1",
        "hub.example",
        8883,
    )
    assert config.broker.keepalive_s == 900
    assert config.state == tmp_path / "d" / "state"
    assert config.registry is not None
    assert config.registry.url == "https://r:5000"
    for name in ("device.pem", "device.key", "ca.pem", "signing.pub", "registry-token"):
        assert (config.identity / name).is_file()
    assert stat.S_IMODE((config.identity / "device.key").stat().st_mode) == 0o600
    shown = json.loads(cli("edge", "devices", "press-1", "-o", "json").stdout)
    assert shown["tags"] == {"site": "x"}


def test_the_token_may_read_until_the_device_is_revoked(cli: Cli, tmp_path: Path) -> None:
    cli(*ENROLL, "--out", "d")
    cli("edge", "enroll", "press-1.b", "--broker", "h", "--registry", "https://r", "--out", "e")
    tokens = Distribution.open(tmp_path / ".inferry").tokens
    secrets = [(tmp_path / n / "identity" / "registry-token").read_text().strip() for n in "de"]
    assert [tokens.access(secret) for secret in secrets] == ["read", "read"]
    cli("edge", "broker-config", "b", "--host", "127.0.0.1")
    before = (tmp_path / "b" / "crl.pem").read_bytes()
    done = cli("edge", "devices", "revoke", "press-1")
    assert (done.code, "1 certificates and 1 tokens" in done.stdout) == (0, True)
    assert [tokens.access(secret) for secret in secrets] == [None, "read"]
    assert (tmp_path / "b" / "crl.pem").read_bytes() != before
    assert "press-1" in cli("edge", "devices").stdout


def test_a_deleted_device_is_revoked_and_forgotten(cli: Cli, tmp_path: Path) -> None:
    cli(*ENROLL, "--out", "d")
    assert cli("edge", "devices", "delete", "press-1").code == 0
    assert json.loads(cli("edge", "devices", "-o", "json").stdout) == []
    assert cli("edge", "devices", "delete", "press-1").code == 1
    secret = (tmp_path / "d" / "identity" / "registry-token").read_text().strip()
    assert Distribution.open(tmp_path / ".inferry").tokens.access(secret) is None
    assert cli("edge", "devices", "revoke", "nobody").code == 1


def test_an_archive_is_secret_and_never_written_over(cli: Cli, tmp_path: Path) -> None:
    assert cli(*ENROLL).code == 0
    target = tmp_path / "press-1.tar"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with tarfile.open(target) as archive:
        assert "agent.toml" in archive.getnames()
    done = cli(*ENROLL)
    assert (done.code, "already" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ["enroll", "../x", "--broker", "h"],
        ["enroll", "hub", "--broker", "h"],
        ["enroll", "a", "--broker", "h:0"],
        ["enroll", "a", "--broker", ":1"],
        ["broker-config", "with space", "--host", "h"],
        ["broker-config", "b", "--host", "no name"],
    ],
)
def test_what_cannot_be_is_refused_in_a_line(cli: Cli, tmp_path: Path, words: list[str]) -> None:
    done = cli("edge", *words)
    assert (done.code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert not (tmp_path / "with space").exists()


def test_a_hub_has_one_broker(cli: Cli) -> None:
    assert cli("edge", "hub").code == 2
    assert cli("edge", "hub", "--broker", "h", "--embedded-broker").code == 2
    assert cli("edge", "hub", "--broker", "h:x").code == 1


def test_a_second_hub_of_a_workspace_is_refused(cli: Cli, tmp_path: Path) -> None:
    with sole_hub(tmp_path / ".inferry"):
        done = cli("edge", "hub", "--embedded-broker")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert "another hub" in done.stderr
    with sole_hub(tmp_path / ".inferry"):
        pass


def test_the_hub_keeps_its_certificate(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / ".inferry"
    first = [path.read_bytes() for path in hub_identity(root)]
    assert [path.read_bytes() for path in hub_identity(root)] == first
    (root / "edge" / "hub" / "ca.pem").write_bytes(b"of another authority")
    assert [path.read_bytes() for path in hub_identity(root)] != first


def test_an_agent_without_configuration_is_told_in_a_line(cli: Cli) -> None:
    assert cli("edge", "agent", "--config", "none.toml").code == 1


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("h", "h", 8883),
        ("h:1", "h", 1),
        ("[::1]:5", "::1", 5),
        ("[::1]", "::1", 8883),
        ("::1", "::1", 8883),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize("text", ["", ":", "h:", "h:0", "h:65536", "h:-1", "h:1x", "[]:1", "h:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        Address.parse(text)


def test_the_hub_tells_of_its_link_and_not_of_each_refused_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with hub_logging():
        logging.getLogger("edge.link.connection").info("connected \x1b[2J")
        logging.getLogger("edge.hub.receiving").info("refused of a device")
        logging.getLogger("edge.broker.connection").info("refused of a stranger")
    logging.getLogger("edge.link.connection").info("after it")
    said = capsys.readouterr().err
    assert "INFO link.connection: connected" in said
    assert not {"\x1b", "refused", "after"} & {*said.split(), *said}
