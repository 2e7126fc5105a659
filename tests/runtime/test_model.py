"""``inferry model ...`` and ``inferry init``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runtime.conftest import Cli
from tests.runtime.server import Done


def assert_refused(done: Done, *words: str) -> None:
    """Exit code 1, nothing on stdout, and one line on stderr with these words and no traceback."""
    assert (done.code, done.stdout) == (1, ""), done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("inferry: ")
    assert "internal error" not in done.stderr
    assert done.stderr.rstrip("\n").isprintable()
    for word in words:
        assert word in done.stderr


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "weights.bin").write_bytes(b"\x00\x01" * 100)
    return "weights.bin"


def test_register_list_and_show(cli: Cli, file: str) -> None:
    done = cli("model", "register", file, "--name", "m", "--tag", "stage=test", "--tag", "plain",
               "--property", "epochs=3", "--description", "two\nlines")  # fmt: skip
    assert (done.code, done.stdout, done.stderr) == (0, "Registered m:1\n", "")
    assert cli("model", "register", file, "--name", "m").stdout == "Registered m:2\n"

    listed = json.loads(cli("model", "list", "--output", "json").stdout)
    assert [(m["name"], m["version"]) for m in listed] == [("m", 1), ("m", 2)]
    shown = json.loads(cli("model", "show", "m:1", "-o", "json").stdout)
    assert shown == {**listed[0], "aliases": [], "came_from": [], "used_by": []}
    assert shown["tags"] == {"stage": "test", "plain": ""}
    assert shown["properties"] == {"epochs": "3"}
    assert shown["description"] == "two\nlines"
    assert shown["size_bytes"] == 200
    assert [f["path"] for f in shown["files"]] == ["weights.bin"]

    table = cli("model", "show", "m:1").stdout
    assert "stage=test" in table
    assert "weights.bin" in table


def test_register_answers_json_with_the_record(cli: Cli, file: str) -> None:
    made = json.loads(cli("model", "register", file, "--name", "m", "-o", "json").stdout)
    assert made == json.loads(cli("model", "show", "m", "-o", "json").stdout)


def test_list_narrows_by_name_tag_and_latest(cli: Cli, file: str) -> None:
    for name, tag in (("a", "stage=test"), ("a", "stage=live"), ("b", "stage=live")):
        cli("model", "register", file, "--name", name, "--tag", tag)

    def names(*options: str) -> list[str]:
        listed = json.loads(cli("model", "list", "-o", "json", *options).stdout)
        return sorted(f"{m['name']}:{m['version']}" for m in listed)

    assert names("--name", "a") == ["a:1", "a:2"]
    assert names("--latest") == ["a:2", "b:1"]
    assert names("--tag", "stage=live") == ["a:2", "b:1"]
    assert names("--tag", "stage") == ["a:1", "a:2", "b:1"]
    assert names("--tag", "stage=none") == []
    assert cli("model", "list", "--name", "none").stdout.splitlines()[0].startswith("NAME")


def test_tags_change_and_properties_only_grow(cli: Cli, file: str) -> None:
    cli("model", "register", file, "--name", "m", "--tag", "a=1", "--property", "p=1")
    done = cli("model", "tag", "m", "a=2", "b=3", "--property", "q=2")
    assert (done.code, done.stdout) == (0, "Tagged m:1\n")
    assert cli("model", "tag", "m:1", "--remove", "a").code == 0
    shown = json.loads(cli("model", "show", "m", "-o", "json").stdout)
    assert (shown["tags"], shown["properties"]) == ({"b": "3"}, {"p": "1", "q": "2"})
    assert_refused(cli("model", "tag", "m", "--property", "p=9"), "p")


def test_download_is_bit_identical(cli: Cli, file: str, tmp_path: Path) -> None:
    cli("model", "register", file, "--name", "m")
    assert cli("model", "download", "m", "out").stdout == "Wrote out\n"
    assert (tmp_path / "out" / file).read_bytes() == (tmp_path / file).read_bytes()


def test_delete_and_purge(cli: Cli, file: str) -> None:
    cli("model", "register", file, "--name", "m")
    assert cli("model", "delete", "m:1").code == 0
    assert_refused(cli("model", "show", "m"), "m")
    would = json.loads(cli("purge", "--dry-run", "-o", "json").stdout)
    assert would["dry_run"] is True
    assert would["size_bytes"] >= 200
    assert cli("purge").stdout.startswith("Freed ")
    assert json.loads(cli("purge", "-o", "json").stdout)["blobs"] == 0


def test_an_unknown_reference_is_refused(cli: Cli, file: str) -> None:
    cli("model", "register", file, "--name", "m")
    for arguments in (
        ["show", "nobody"],
        ["show", "m:2"],
        ["delete", "m:9"],
        ["tag", "nobody", "a=1"],
        ["download", "nobody", "out"],
    ):
        assert_refused(cli("model", *arguments), arguments[1].split(":")[0])


@pytest.mark.parametrize("ref", ["m:0", "m:-1", "m:x", "m:1:2", ":1", "m:", "m:" + "9" * 50, ""])
def test_a_malformed_reference_is_refused(cli: Cli, ref: str) -> None:
    assert_refused(cli("model", "show", ref))


@pytest.mark.parametrize(
    "name",
    ["", "../up", "a/b", "a:b", "-x", "a b", "\x1b[2J", "a\nb", "n" * 4096, "m\u043edel", "."],
)
def test_a_hostile_name_is_refused(cli: Cli, file: str, name: str) -> None:
    assert_refused(cli("model", "register", file, f"--name={name}"))
    assert json.loads(cli("model", "list", "-o", "json").stdout) == []


def test_what_cannot_be_registered_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in ("not-there", "/dev/null", "empty"):
        assert_refused(cli("model", "register", path, "--name", "m"))


def test_a_tag_without_a_key_is_refused(cli: Cli, file: str) -> None:
    assert_refused(cli("model", "register", file, "--name", "m", "--tag", "=1"), "no key")


def test_the_workspace_is_found_from_below_and_by_name(
    cli: Cli, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("model", "register", file, "--name", "here")
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    assert "here" in cli("model", "list").stdout

    assert cli("init", str(tmp_path / "other")).code == 0
    assert "here" not in cli("model", "list", "-w", str(tmp_path / "other")).stdout
    monkeypatch.setenv("INFERRY_WORKSPACE", str(tmp_path / "other"))
    assert "here" not in cli("model", "list").stdout
    assert "here" in cli("model", "list", "-w", str(tmp_path / ".inferry")).stdout


def test_init_twice_changes_nothing(cli: Cli, file: str) -> None:
    cli("model", "register", file, "--name", "m")
    cli("init")
    assert "m" in cli("model", "list").stdout
