"""The command line says the same of a workspace by its folder and by its URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served, serving
from tests.runtime.test_model import assert_refused

READING = (
    ("model", "list"),
    ("model", "list", "--latest", "--tag", "a"),
    ("model", "list", "--name", "nobody"),
    ("model", "show", "adder"),
    ("model", "show", "adder:1"),
    ("image", "list"),
    ("image", "list", "--latest"),
    ("image", "show", "adder"),
    ("image", "show", "adder:1"),
    ("activity", "list"),
    ("activity", "list", "--kind", "image", "--limit", "1"),
    ("activity", "hook", "list"),
    ("registry", "token", "list"),
    ("audit", "list"),
    ("purge", "--dry-run"),
)
PLAIN = (
    ("image", "log", "adder"),
    ("model", "show", "nobody"),
    ("model", "show", "no/name"),
    ("image", "show", "nobody"),
    ("image", "lock", "adder"),
    ("activity", "show", "nobody"),
    ("model", "tag", "nobody", "a=1"),
    ("model", "delete", "adder:1"),
    ("model", "delete", "adder"),
    ("image", "delete", "nobody"),
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose workspace has something of each kind."""
    folder = tmp_path_factory.mktemp("full")
    workspace = Workspace.init(folder / "ws", base="none")
    for constant in (1.0, 2.0):
        file = adder(folder / "m.onnx", constant=constant)
        workspace.models.register(file, name="adder", tags={"a": "b"}, properties={"p": "q"})
        workspace.images.create("adder", models=["adder"], proof=False)
    with serving({"default": folder / "ws"}) as found:
        yield found


@pytest.fixture
def both(full: Served, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with no token and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("INFERRY_TOKEN", "INFERRY_CA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return cli


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_what_reads_gives_the_same_by_folder_and_by_url(
    full: Served, both: Cli, command: tuple[str, ...]
) -> None:
    for output in ("table", "json"):
        here, there = (
            both(*command, "-o", output, "-w", where)
            for where in (str(full.local().root), full.url)
        )
        assert here.code == 0, here.stderr
        assert there == here


@pytest.mark.parametrize("command", PLAIN, ids=" ".join)
def test_what_is_refused_is_refused_in_the_same_words(
    full: Served, both: Cli, command: tuple[str, ...]
) -> None:
    here, there = (both(*command, "-w", where) for where in (str(full.local().root), full.url))
    assert there == here


def test_an_activity_is_watched_by_url(full: Served, both: Cli) -> None:
    id = full.local().activities.list()[0].id
    for command in (("show", id), ("log", id), ("watch", id)):
        here, there = (
            both("activity", *command, "-w", where) for where in (str(full.local().root), full.url)
        )
        assert (there.code, there.stdout) == (here.code, here.stdout) == (0, here.stdout)


def test_models_and_images_are_made_changed_and_removed_by_url(
    full: Served, both: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", full.url)
    adder(tmp_path / "new.onnx", constant=7.0)
    assert both("model", "register", "new.onnx", "--name", "new").stdout == "Registered new:1\n"
    assert both("model", "tag", "new", "k=v", "--property", "p=1").code == 0
    done = both("image", "create", "new", "--model", "new", "--no-proof")
    assert done.stdout.startswith("Created new:1, digest sha256:"), done.stderr
    assert both("image", "tag", "new", "k=v").code == 0
    assert both("image", "export", "new", "new.tar").code == 0
    assert both("model", "download", "new", "out").code == 0
    assert (tmp_path / "out" / "new.onnx").read_bytes() == (tmp_path / "new.onnx").read_bytes()
    assert_refused(both("model", "download", "new", "out"), "there already")
    assert both("image", "delete", "new:1").code == 0
    assert both("model", "delete", "new:1").code == 0
    assert both("purge").stdout.startswith("Freed ")
    made = both("activity", "hook", "add", "https://hook.example/x", "--on", "failed")
    assert made.stdout.startswith("Hook 1 tells https://hook.example/x\nIts secret"), made.stderr
    assert both("activity", "hook", "delete", "1").code == 0
    assert_refused(both("activity", "hook", "delete", "1"), "there is no hook 1")
    assert both("purge").code == 0
    said = json.loads(both("audit", "list", "--limit", "1", "-o", "json").stdout)
    assert said[0]["route"] == "upkeep.purge"


@pytest.mark.parametrize(
    "command",
    [
        ("up",),
        ("init",),
        ("registry", "serve"),
        ("edge", "devices"),
    ],
    ids=" ".join,
)
def test_what_needs_the_folder_says_so_in_a_line(
    full: Served, both: Cli, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", full.url)
    assert_refused(both(*command), "folder")


def test_a_token_is_kept_tried_and_forgotten(
    both: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({"default": tmp_path / "ws", "team": tmp_path / "team"}) as closed:
        root = str(closed.local().root)
        owner = both("registry", "token", "create", "ada", "--role", "owner", "-w", root).stdout
        reader = both("registry", "token", "create", "bob", "-w", root).stdout
        assert_refused(both("model", "list", "-w", closed.url), f"inferry login {closed.url}")
        monkeypatch.setattr("sys.stdin", _Lines("ify_" + "x" * 43))
        assert_refused(both("login", closed.url, "--token-stdin"), "good token")
        assert not (tmp_path / ".config").exists()

        monkeypatch.setattr("sys.stdin", _Lines(reader))
        done = both("login", closed.url, "--token-stdin")
        assert done.stdout == f"Logged in to {closed.url} as bob (reader)\n"
        assert both("model", "list", "-w", closed.url).code == 0
        assert_refused(both("purge", "-w", closed.url), "bob is a reader")
        assert_refused(both("audit", "list", "-w", closed.url), "owner")
        who = json.loads(both("whoami", "-w", closed.url, "-o", "json").stdout)
        assert (who["who"], who["role"], who["workspace"]) == ("bob", "reader", "default")

        monkeypatch.setenv("INFERRY_TOKEN", owner.strip())
        made = both("registry", "token", "create", "new", "-w", closed.url)
        assert made.stdout.startswith("ify_")
        assert both("registry", "token", "revoke", "new", "-w", closed.url).code == 0
        listed = both("registry", "token", "list", "-o", "json", "-w", closed.url).stdout
        assert {each["name"] for each in json.loads(listed)} == {"ada", "bob", "new"}
        assert both("registry", "token", "create", "ada2", "-w", f"{closed.url}/team").code == 0
        assert_refused(both("whoami", "-w", f"{closed.url}/team"), "inferry login")
        monkeypatch.delenv("INFERRY_TOKEN")

        assert both("logout", closed.url).code == 0
        assert_refused(both("logout", closed.url), "no token")
        assert_refused(both("model", "list", "-w", closed.url), "inferry login")
    assert_refused(both("whoami"), "URL")


class _Lines:
    """What somebody types."""

    def __init__(self, text: str) -> None:
        self._text = text

    def readline(self, _limit: int = -1) -> str:
        return f"{self._text.strip()}\n"
