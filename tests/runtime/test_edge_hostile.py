"""What a device says is shown by the command line, which nothing of it may break."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from edge.hub import deployments, ingest
from edge.hub.batch import parse
from edge.hub.database import Database
from edge.messages.codec import deflate
from edge.messages.commands import Reply
from edge.messages.reported import ModuleReport
from registry import Workspace
from runtime import edge_images
from tests.runtime.conftest import Cli
from tests.runtime.test_edge import NOW_MS, answering, hub, report

__all__ = ["hub"]
ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def say(database: Database, device: str, body: str, *, time_ms: int = NOW_MS, seq: int = 1) -> None:
    """A record of telemetry, as it comes."""
    plain = (
        f'{{"v": 1, "life": "l", "stream": 0, "base": 1, "first": {seq}, "last": {seq},'
        f' "records": [[{seq}, {time_ms}, 5, "m", "k", {body}]]}}'
    ).encode()
    heard = ingest.Heard(device, deflate(plain), parse(plain))
    with database.writer() as connection:
        assert not ingest.store(connection, [heard], NOW_MS).refused


def test_a_time_beyond_all_calendars_hides_no_telemetry(cli: Cli, hub: Database) -> None:
    for seq, time_ms in enumerate((2**62, 253_402_300_800_000, -(2**62)), 1):
        say(hub, "press-1", "1", time_ms=time_ms, seq=seq)
    for output in ("table", "json"):
        done = cli("edge", "telemetry", "-o", output)
        assert done.code == 0, done.stderr
        assert "press-1" in done.stdout


def test_a_module_that_started_at_no_time_hides_no_devices(cli: Cli, hub: Database) -> None:
    for number, at_ms in enumerate((2**63, -(2**63), 10**25), 1):
        module = ModuleReport("m", "x:1", "d", "d", "idle", "healthy", started_at_ms=at_ms)
        report(hub, "press-1", module, number=number)
        for words in (["devices"], ["devices", "-o", "json"], ["devices", "press-1"]):
            done = cli("edge", *words)
            assert (done.code, "x:1" in done.stdout) == (0, True), done.stderr


def strict(text: str) -> object:
    def refuse(word: str) -> object:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_body_is_shown(cli: Cli, hub: Database) -> None:
    bodies = ("1e999", "[" * 900 + "]" * 900, "9" * 5000, '"\\u001b[2J"')
    for seq, body in enumerate(bodies, 1):
        say(hub, "press-1", body, seq=seq)
    done = cli("edge", "telemetry", "-o", "json")
    assert done.code == 0, done.stderr
    assert isinstance(found := strict(done.stdout), list)
    assert len(found) == len(bodies)
    done = cli("edge", "telemetry")
    assert done.code == 0, done.stderr
    assert "\x1b" not in done.stdout


def test_answers_of_a_device_cannot_steer_the_terminal(cli: Cli, hub: Database) -> None:
    with answering(hub, "press-1", Reply(1, "", True, text=f"sent {ESCAPE}")):
        done = cli("edge", "flush", "press-1")
    assert (done.code, "\x1b" in done.stdout) == (0, False)
    checks = [{"name": f"clock{ESCAPE}", "level": "ok", "text": f"a{ESCAPE}", "advice": ESCAPE}]
    with answering(hub, "press-1", Reply(1, "", True, text=json.dumps(checks))):
        done = cli("edge", "check", "press-1")
    assert (done.code, "\x1b" in done.stdout) == (0, False), done.stderr
    with answering(hub, "press-1", Reply(1, "", False, error=ESCAPE)):
        done = cli("edge", "ping", "press-1")
    assert (done.code, "\x1b" in done.stderr) == (1, False)


def test_an_option_of_a_module_without_one_is_refused(cli: Cli, hub: Database) -> None:
    assert cli("edge", "deploy", "a", "--module", "m=digits:1").code == 0
    for options in (
        *(["--watch-s", "60"], ["--memory", "64m"], ["--restart", "never"], ["--cpus", "1"]),
        *(["--window", "1:00-2:00"], ["--strategy", "replace"], ["--shadow-s", "0"]),
        ["--order", "0"],
    ):
        done = cli("edge", "deploy", "a", *options)
        assert (done.code, "--module" in done.stderr) == (1, True), (options, done)


def test_a_name_that_cannot_be_is_refused_as_a_deployments(cli: Cli, hub: Database) -> None:
    done = cli("edge", "deploy", "x;rm", "--module", "m=digits:1")
    assert (done.code, "'x;rm' cannot name a layer" in done.stderr) == (1, True), done.stderr


def test_a_file_takes_no_options_not_even_zeros(cli: Cli, hub: Database, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('{"modules": [{"name": "m", "image": "digits:1"}]}')
    for option in ("--priority", "--watch-s", "--order"):
        assert cli("edge", "deploy", "a", "d.json", option, "0").code == 2
    assert cli("edge", "deploy", "a", "d.json").code == 0


SENSELESS = [
    *("modules: 5", "modules: x", "modules: [5]", "modules: {a: 1}", "modules: &m [*m]"),
    *("settings: 3", "settings: {report_s: .nan}", "priority: .inf", "priority: 99999999999999999"),
    *("target: 5", "target: ~", "name: [a]", "5: 6", "[]", "- 1", "", "\0", "a: &a [*a]"),
    *("? [a]\n: b", "x: !!python/object:os.system {}", "modules:\n\t- 1"),
    *("modules: [{name: m, image: 5}]", "modules: [{name: m}]"),
]
SENSELESS_OF_A_MODULE = [
    *("env: 3", "env: {A: 5}", "update: 3", "limits: {memory_bytes: 99999999999999999999}"),
    *("update: {windows: [5]}", "update: {windows: ['25:99-1']}"),
]


def test_a_file_that_says_nothing_sensible_is_refused_in_a_line(
    cli: Cli, hub: Database, tmp_path: Path
) -> None:
    module = "modules: [{name: m, image: 'digits:1', %s}]"
    for text in [*SENSELESS, *(module % words for words in SENSELESS_OF_A_MODULE)]:
        (tmp_path / "d.yaml").write_text(text)
        done = cli("edge", "deploy", "a", "d.yaml")
        assert (done.code, done.stderr.count("\n")) == (1, 1), (text, done)
        assert "internal error" not in done.stderr, (text, done)


def test_who_has_no_name_may_deploy(
    cli: Cli, hub: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nameless)
    done = cli("edge", "deploy", "a", "--module", "m=digits:1")
    assert done.code == 0, done.stderr
    shown = json.loads(cli("edge", "deployments", "a", "-o", "json").stdout)
    assert shown["changed_by"].startswith("uid ")


def test_what_changed_while_one_deploys_is_not_written_over(
    cli: Cli, hub: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("edge", "deploy", "a", "--module", "m=digits:1")
    found = edge_images.find

    def find(workspace: Workspace, reference: str) -> edge_images.FoundImage:
        known = deployments.Deployments(hub)
        layer = known.show("a").layer
        known.put(msgspec.structs.replace(layer, priority=layer.priority + 1), by="other")
        return found(workspace, reference)

    monkeypatch.setattr(edge_images, "find", find)
    done = cli("edge", "deploy", "a", "--module", "n=digits:2")
    assert (done.code, "meanwhile" in done.stderr) == (1, True), done.stderr
