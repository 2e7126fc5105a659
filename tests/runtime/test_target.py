from __future__ import annotations

import json
from pathlib import Path

from registry import Workspace
from tests.runtime.conftest import Cli


def test_local_is_there_and_stays(cli: Cli) -> None:
    assert [each["name"] for each in json.loads(cli("target", "list", "-o", "json").stdout)] == [
        "local"
    ]
    done = cli("target", "detach", "local")
    assert (done.code, "always there" in done.stderr) == (1, True)


def test_a_target_is_attached_shown_and_detached(cli: Cli) -> None:
    done = cli("target", "attach", "box", "--kind", "docker", "--set", "url=ssh://ada@box")
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
