from __future__ import annotations

import json
from pathlib import Path

from edge.hub import devices
from registry import Workspace
from runtime.deployments.hub import hub_of
from tests.runtime.conftest import Cli


def test_local_is_there_and_stays(cli: Cli) -> None:
    assert [each["name"] for each in json.loads(cli("target", "list", "-o", "json").stdout)] == [
        "local"
    ]
    done = cli("target", "detach", "local")
    assert (done.code, "always there" in done.stderr) == (1, True)


def test_a_target_is_attached_shown_and_detached(cli: Cli) -> None:
    done = cli(
        "target", "attach", "box", "--kind", "docker", "--set", "url=ssh://ada@box", "--no-check"
    )
    assert done.code == 0, done.stderr
    shown = json.loads(cli("target", "show", "box", "-o", "json").stdout)
    assert (shown["kind"], shown["settings"], shown["users"]) == (
        "docker",
        {"url": "ssh://ada@box"},
        [],
    )
    assert "ssh://ada@box" in cli("target", "list").stdout
    assert cli("target", "detach", "box").code == 0
    assert cli("target", "show", "box").code == 1


def test_a_setting_may_have_an_equals_sign(cli: Cli) -> None:
    condition = 'site == "berlin"'
    done = cli("target", "attach", "b", "--kind", "edge", "--set", f"condition={condition}")
    assert done.code == 0, done.stderr
    assert json.loads(cli("target", "show", "b", "-o", "json").stdout)["settings"] == {
        "condition": condition
    }


def test_a_target_in_use_is_kept_and_the_users_are_named(cli: Cli, images: Workspace) -> None:
    cli("target", "attach", "box", "--kind", "docker")
    cli("deploy", "web", "--image", "adder:1", "--target", "box", "--no-wait")
    done = cli("target", "detach", "box")
    assert (done.code, "web" in done.stderr) == (1, True)
    assert "web" in cli("target", "list").stdout


REFUSED = [
    (1, ["attach", "local", "--kind", "docker"]),
    (1, ["attach", "../x", "--kind", "docker"]),
    (1, ["attach", "x" * 33, "--kind", "docker"]),
    (2, ["attach", "x", "--kind", "kubernetes"]),
    (2, ["attach", "x"]),
    (1, ["attach", "x", "--kind", "docker", "--set", "url"]),
    (1, ["attach", "x", "--kind", "docker", "--set", "=x"]),
    (1, ["attach", "x", "--kind", "docker", "--set", "url=http://a"]),
    (1, ["attach", "x", "--kind", "docker", "--set", "url=ssh://a", "--set", "url=ssh://b"]),
    (1, ["attach", "x", "--kind", "docker", "--set", "colour=red"]),
    (1, ["attach", "x", "--kind", "docker", "--set", "address=" + "1" * 10_000_000]),
    (1, ["attach", "x", "--kind", "edge"]),
    (1, ["attach", "x", "--kind", "fpga", "--set", "board=\x1b[2J"]),
    (1, ["show", "\x1b[2J"]),
    (1, ["detach", "nobody"]),
]


def test_what_cannot_be_is_refused_in_a_line(cli: Cli, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / ".inferry")
    for code, words in REFUSED:
        done = cli("target", *words)
        assert (done.code, done.stdout) == (code, ""), words
        assert done.stderr.count("\n") == 1 or code == 2
        assert len(done.stderr) < 1000
        assert "\x1b" not in done.stderr
        assert len(workspace.targets.list()) == 1


def test_an_engine_that_does_not_answer_is_not_attached_unless_that_is_meant(cli: Cli) -> None:
    words = ("attach", "x", "--kind", "docker", "--set", "url=tcp://127.0.0.1:1")
    done = cli("target", *words)
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert "Connection refused" in done.stderr
    assert "--no-check" in done.stderr
    assert cli("target", *words, "--no-check").code == 0


def test_an_open_port_of_another_machine_is_refused_unless_somebody_insists(cli: Cli) -> None:
    words = ("attach", "x", "--kind", "docker", "--no-check", "--set", "url=tcp://gpu1:2375")
    done = cli("target", *words)
    assert (done.code, "without TLS" in done.stderr) == (1, True)
    assert cli("target", *words, "--set", "insecure=true").code == 0


def test_how_many_devices_meet_the_condition_is_said(cli: Cli, tmp_path: Path) -> None:
    database = hub_of(tmp_path / ".inferry")
    for number in range(3):
        devices.enrol(database, f"d-{number}", now_ms=1, tags={"line": str(number % 2)})
    words = ("--kind", "edge", "--set", 'condition=line == "0"')
    done = cli("target", "attach", "line-0", *words)
    assert "2 of 3 devices of the hub meet the condition" in done.stdout
    done = cli("target", "attach", "other", *words, "-o", "json")
    assert json.loads(done.stdout)["found"] == {"devices": 2, "enrolled": 3}
    done = cli("target", "attach", "x", "--kind", "edge", "--set", "condition=line ==")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
