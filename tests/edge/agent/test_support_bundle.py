from __future__ import annotations

import io
import tarfile
from contextlib import closing
from pathlib import Path

from edge.agent import check, support_bundle
from edge.agent.state import AgentState
from edge.agent.support_bundle import scrub
from edge.agent.view import keep_report
from edge.messages.desired import Desired, Module
from tests.edge.agent.devices import ENV_SECRET, TOKEN, make_device
from tests.edge.agent.test_checks import DIGEST, report


def unpack(data: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for entry in archive:
            file = archive.extractfile(entry)
            assert file is not None
            found[entry.name] = file.read().decode()
        return found


def test_it_has_what_helps_and_nothing_that_is_secret(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    key = (device.identity / "device.key").read_text()
    with closing(AgentState(device.state)) as state:
        module = Module("m", "m:1", DIGEST, env={"PASSWORD": ENV_SECRET, "MODE": "1"})
        state.keep_desired(Desired(1, "press-7", 1, (module,)))
    keep_report(device.state, report("healthy"))
    (device.state / "agent.log").write_text(f"took {TOKEN} and\n{key}\nand {ENV_SECRET}\n")
    (device.state / "agent.log.1").write_text("Authorization: Basic dXNlcjpwYXNzd29yZA==\n")
    data = support_bundle.make(
        device,
        logs={"m": f"line of m\nPASSWORD={ENV_SECRET}\nAuthorization: Bearer {TOKEN}\n"},
        results=[check.ok("disk", "room")],
    )
    found = unpack(data)
    assert set(found) == {
        f"support/{name}"
        for name in (
            "check.txt",
            "machine.txt",
            "agent.toml",
            "agent.log",
            "reported.json",
            "desired.json",
            "modules/m.log",
        )
    }
    whole = "".join(found.values())
    for secret in (TOKEN, ENV_SECRET, "PRIVATE KEY", "dXNlcjpwYXNzd29yZA", *key.splitlines()[1:-1]):
        assert secret not in whole
    assert "line of m" in found["support/modules/m.log"]
    assert "PASSWORD" in found["support/desired.json"]
    assert 'device = "press-7"' in found["support/agent.toml"]


def test_a_device_that_never_ran_has_one_too(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    device.state.rmdir()
    found = unpack(support_bundle.make(device, logs={}, results=[check.ok("disk", "room")]))
    assert "support/check.txt" in found


def test_a_key_that_is_cut_off_is_hidden_to_the_end() -> None:
    assert scrub("a -----BEGIN EC PRIVATE KEY-----\nMHcCAQ", []) == "a (hidden)"


def test_a_long_log_is_cut_to_its_end(tmp_path: Path) -> None:
    device = make_device(tmp_path)
    (device.state / "agent.log").write_text("first\n" + "x" * 2_000_000 + "\nlast\n")
    found = unpack(support_bundle.make(device, logs={}, results=[check.ok("disk", "room")]))
    assert found["support/agent.log"].endswith("last\n")
    assert len(found["support/agent.log"]) == support_bundle.MAX_LOG_BYTES
