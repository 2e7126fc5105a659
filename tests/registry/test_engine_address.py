"""Where an engine may be, and what ssh is asked."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from registry.engine_address import TLS_FILES, EngineAddress, check_address, tls_words
from registry.engine_ssh import DIAL, ssh_command
from registry.errors import EngineError


def test_sockets_loopback_ssh_and_tls_are_fine(tmp_path: Path) -> None:
    for name in TLS_FILES:
        (tmp_path / name).touch()
    for address in (
        EngineAddress("unix:///run/docker.sock"),
        EngineAddress("tcp://127.0.0.1:2375"),
        EngineAddress("tcp://[::1]:2375"),
        EngineAddress("tcp://localhost:2375"),
        EngineAddress("tcp://gpu1:2376", tmp_path),
        EngineAddress("tcp://gpu1:2375", is_insecure=True),
        EngineAddress("ssh://ada@gpu1"),
        EngineAddress("ssh://gpu1:22/"),
    ):
        assert check_address(address) is address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (EngineAddress("tcp://gpu1:2375"), "root there"),
        (EngineAddress("tcp://10.0.0.7:2375"), "without TLS"),
        (EngineAddress("tcp://127.0.0.1.evil.test:2375"), "without TLS"),
        (EngineAddress("tcp://gpu1", is_insecure=True), "port"),
        (EngineAddress("tcp://gpu1:99999", is_insecure=True), "port"),
        (EngineAddress("tcp://gpu1:2375/x", is_insecure=True), "write tcp://HOST"),
        (EngineAddress("tcp://:2375", is_insecure=True), "write tcp://HOST"),
        (EngineAddress("tcp://ada@gpu1:2375", is_insecure=True), "no password"),
        (EngineAddress("ssh://ada:secret@gpu1"), "no password"),
        (EngineAddress("ssh://"), "write ssh://HOST"),
        (EngineAddress("ssh://gpu1", tls=Path("/x")), "for tcp"),
        (EngineAddress("tcp://gpu1:2376", ssh_config=Path("/x")), "for ssh"),
        (EngineAddress("unix://socket"), "unix:///PATH"),
        (EngineAddress("http://gpu1:2375"), "unix://, tcp:// or ssh://"),
    ],
)
def test_what_cannot_be_or_is_open_to_all_is_refused(address: EngineAddress, said: str) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        check_address(address)
    assert "secret" not in str(caught.value)


def test_files_that_lack_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    with pytest.raises(EngineError, match=r"no cert\.pem and no key\.pem"):
        check_address(EngineAddress("tcp://gpu1:2376", tmp_path))


def test_ssh_asks_nobody_and_takes_no_option_from_a_name() -> None:
    command = ssh_command(EngineAddress("ssh://ada@gpu1:2222", ssh_config=Path("/c")), 10)
    assert command[:4] == ["ssh", "-T", "-F", "/c"]
    assert "BatchMode=yes" in command
    assert command[-5:] == ["-l", "ada", "--", "gpu1", DIAL]
    hostile = ssh_command(EngineAddress("ssh://-oProxyCommand=x"), 10)
    assert hostile[-3:] == ["--", "-oproxycommand=x", DIAL]
    hostile = ssh_command(EngineAddress("ssh://-oProxyCommand=x@gpu1"), 10)
    assert hostile[hostile.index("-oProxyCommand=x") - 1] == "-l"


def test_what_is_wrong_with_tls_is_said_for_people() -> None:
    refused = ssl.SSLCertVerificationError(1, "x")
    refused.verify_message = "Hostname mismatch"
    assert tls_words(refused) == "its certificate is refused: Hostname mismatch"
    alert = ssl.SSLError(1, "x")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert "cert.pem" in tls_words(alert)
    assert tls_words(ssl.SSLEOFError(8, "x")) == "the connection broke"
