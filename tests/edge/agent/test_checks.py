from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from edge.agent import checks, checks_machine, checks_network
from edge.agent.check import Check, fail, ok, warn
from edge.agent.checks import run_probes, text
from edge.agent.config import AgentConfig, load
from edge.agent.state import AgentState, StateLock
from edge.agent.view import keep_report
from edge.messages.desired import Desired, Module
from edge.messages.reported import HostReport, ModuleReport, OutboxReport, Reported
from tests.edge.agent.devices import issue, make_device

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def device(tmp_path: Path) -> AgentConfig:
    return make_device(tmp_path)


def test_one_that_fails_or_hangs_stops_no_other(device: AgentConfig) -> None:
    release = threading.Event()

    def hangs(config: AgentConfig) -> Check:
        release.wait()
        return ok("hangs", "")

    def breaks(config: AgentConfig) -> Check:
        raise KeyError("x")

    found = run_probes(
        {"hangs": hangs, "breaks": breaks, "well": lambda config: ok("well", "yes")},
        device,
        timeout_s=1.0,
    )
    release.set()
    assert [check.level for check in found] == ["fail", "fail", "ok"]
    assert "too long" in found[0].text
    assert "KeyError" in found[1].text


def test_the_text_has_a_line_for_each_and_the_advice() -> None:
    shown = text([ok("a", "good"), warn("b", "so\nso\x1b[1m", "do this"), fail("c", "bad", "that")])
    assert shown.splitlines() == [
        "ok    a  good",
        "warn  b  so",
        "         -> do this",
        "fail  c  bad",
        "         -> that",
        "3 checks: 1 failed, 1 to look at",
    ]


def test_a_device_without_network_gets_all_its_answers(device: AgentConfig) -> None:
    found = {check.name: check for check in checks.run(device, timeout_s=15)}
    assert len(found) >= 15
    assert found["broker"].level == "fail"
    assert found["registry"].level == "warn"
    for name in ("disk", "state-folder", "databases", "certificates", "signing-key", "names"):
        assert found[name].level == "ok", found[name]
    assert all(check.advice for check in found.values() if check.level != "ok")


def test_a_clock_that_is_past_is_told(device: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert checks_machine.clock(device).level == "fail"


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    device = make_device(tmp_path, extra=f"[disk]\nreserve_bytes = {2**52}\n")
    assert checks_machine.disk(device).level == "fail"


def test_a_state_folder_that_is_not_there_is_told(device: AgentConfig) -> None:
    device.state.rmdir()
    assert checks_machine.state_folder(device).level == "fail"
    assert checks_machine.disk(device).level in ("ok", "warn")


def test_whether_an_agent_runs_is_told(device: AgentConfig) -> None:
    assert checks_machine.agent(device).level == "warn"
    with StateLock(device.state):
        assert checks_machine.agent(device).level == "ok"


def test_a_damaged_database_is_told(device: AgentConfig) -> None:
    AgentState(device.state).close()
    assert checks_machine.databases(device).text == "state.db whole"
    (device.state / "outbox.db").write_bytes(b"no database" * 1000)
    found = checks_machine.databases(device)
    assert (found.level, "outbox.db" in found.text) == ("fail", True)


@pytest.mark.parametrize(
    ("begin_days", "days", "level", "word"),
    [
        (-1, 365, "ok", "until"),
        (-10, 20, "warn", "ends"),
        (-10, 5, "fail", "ended"),
        (5, 365, "fail", "not valid yet"),
    ],
)
def test_the_dates_of_certificates_are_told(
    device: AgentConfig, begin_days: int, days: int, level: str, word: str
) -> None:
    begin = datetime.now(UTC) + timedelta(days=begin_days)
    issue(device.identity, device.device, begin=begin, days=days)
    found = checks_machine.certificates(device)
    assert (found.level, word in found.text) == (level, True), found


def test_a_certificate_that_is_missing_damaged_or_of_another_is_told(device: AgentConfig) -> None:
    key = (device.identity / "device.key").read_bytes()
    issue(device.identity, device.device)
    (device.identity / "device.key").write_bytes(key)
    assert "does not belong" in checks_machine.certificates(device).text
    issue(device.identity, "another")
    assert "another device" in checks_machine.certificates(device).text
    (device.identity / "device.pem").write_bytes(b"x")
    assert "damaged" in checks_machine.certificates(device).text
    (device.identity / "device.pem").unlink()
    found = checks_machine.certificates(device)
    assert (found.level, "device.pem" in found.text) == ("fail", True)


def test_a_key_that_others_can_read_is_told(device: AgentConfig) -> None:
    (device.identity / "device.key").chmod(0o644)
    assert checks_machine.certificates(device).level == "warn"


def test_a_signing_key_that_is_none_is_told(device: AgentConfig) -> None:
    assert checks_machine.signing_key(device).level == "ok"
    (device.identity / "signing.pub").write_text("nonsense")
    assert checks_machine.signing_key(device).level == "fail"
    (device.identity / "signing.pub").unlink()
    assert checks_machine.signing_key(device).level == "fail"


@pytest.mark.parametrize(
    ("answer", "level"),
    [(b"HTTP/1.1 200 OK\r\n\r\nOK", "ok"), (b"HTTP/1.1 500 no\r\n\r\n", "fail")],
)
def test_docker_is_asked(tmp_path: Path, answer: bytes, level: str) -> None:
    path = tmp_path / "d.sock"
    device = make_device(tmp_path, extra=f"[modules]\nhosts = ['docker']\ndocker = '{path}'\n")
    assert checks_machine.docker(device).level == "fail"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen()
        with answering(listening, answer):
            assert checks_machine.docker(device).level == level


def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    device = make_device(tmp_path, extra="[modules]\npython = '/nowhere/python'\n")
    assert checks_machine.python(device).level == "fail"


def test_modules_that_are_ill_or_silent_are_told(device: AgentConfig) -> None:
    with closing(socket.socket()) as listening, closing(AgentState(device.state)) as state:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        state.keep_desired(Desired(1, "press-7", 1, (Module("m", "m:1", DIGEST, port=port),)))
        assert checks_machine.ports(device).level == "warn"
        listening.listen()
        assert checks_machine.ports(device).level == "ok"
    assert checks_machine.modules(device).level == "warn"
    with StateLock(device.state):
        keep_report(device.state, report("healthy"))
        assert checks_machine.modules(device).level == "ok"
        keep_report(device.state, report("unhealthy"))
        found = checks_machine.modules(device)
    assert (found.level, "m is unhealthy" in found.text) == ("fail", True)


def report(health: str) -> Reported:
    module = ModuleReport("m", "m:1", "d", "d", "idle", health)  # type: ignore[arg-type]
    host = HostReport(1, 2, 3, 4, 0.5, 10.0, "boot")
    return Reported(1, "a", 1, 1, 1, 1, (module,), host, OutboxReport(0, 0))


def test_a_name_without_an_address_is_told(tmp_path: Path) -> None:
    made = make_device(tmp_path)
    config = (tmp_path / "agent.toml").read_text().replace("127.0.0.1", "no.such.invalid")
    (tmp_path / "agent.toml").write_text(config)
    assert checks_network.names(made).level == "ok"
    assert checks_network.names(load(tmp_path / "agent.toml")).level == "fail"


@pytest.mark.parametrize(
    ("status", "level", "word"),
    [("200 OK", "ok", "answers"), ("401 No", "fail", "token"), ("503 No", "fail", "503")],
)
def test_the_registry_is_asked_with_the_token(
    tmp_path: Path, status: str, level: str, word: str
) -> None:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        device = make_device(tmp_path, extra=f"[registry]\nurl = '{url}'\n")
        asked: list[bytes] = []
        with answering(listening, f"HTTP/1.1 {status}\r\n\r\n".encode(), asked):
            found = checks_network.registry(device)
    assert (found.level, word in found.text) == (level, True), found
    assert asked[0].startswith(b"GET /v2/ HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer ify_" in asked[0]


def test_a_registry_that_speaks_something_else_is_told(tmp_path: Path) -> None:
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        device = make_device(tmp_path, extra=f"[registry]\nurl = '{url}'\n")
        with answering(listening, b"SSH-2.0-x\r\n"):
            assert checks_network.registry(device).level == "fail"


def test_tls_with_the_broker_is_tried_from_both_sides(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    device_ok = _tls_device(tmp_path / "ok", authority, authority)
    for device, asks, level, word in (
        (device_ok, authority, "ok", "TLSv1.3"),
        (device_ok, other, "fail", "refuses"),
        (_tls_device(tmp_path / "bad", other, other), authority, "fail", "certificate"),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.configure_cert(context)
        context.verify_mode = ssl.CERT_REQUIRED
        asks.configure_trust(context)
        with closing(socket.socket()) as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            text = (device.path).read_text()
            port = listening.getsockname()[1]
            device.path.write_text(text.replace("port = 1\n", f"port = {port}\n"))
            config = load(device.path)
            device.path.write_text(text)
            with greeting(listening, context):
                found = checks_network.broker_tls(config)
        assert (found.level, word in found.text) == (level, True), found


def _tls_device(folder: Path, trusts: trustme.CA, signed_by: trustme.CA) -> AgentConfig:
    device = make_device(folder, authority=trusts)
    made = signed_by.issue_cert("press-7", common_name="press-7")
    made.cert_chain_pems[0].write_to_path(device.identity / "device.pem")
    made.private_key_pem.write_to_path(device.identity / "device.key")
    return device


@contextmanager
def greeting(listening: socket.socket, context: ssl.SSLContext) -> Iterator[None]:
    """Shakes one hand, as a broker does, and waits for the other to go."""

    def serve() -> None:
        connection, _ = listening.accept()
        connection.settimeout(10)
        with (
            closing(connection),
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as secure,
        ):
            secure.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join(60)


@contextmanager
def answering(
    listening: socket.socket, answer: bytes, asked: list[bytes] | None = None
) -> Iterator[None]:
    """Answers one request."""

    def serve() -> None:
        connection, _ = listening.accept()
        with closing(connection):
            data = connection.recv(4096)
            if asked is not None:
                asked.append(data)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join(60)
