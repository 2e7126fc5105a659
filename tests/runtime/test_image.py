"""``inferry image ...``, and what an image uses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runtime.conftest import Cli
from tests.runtime.test_model import assert_refused

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"


@pytest.fixture
def model(cli: Cli, tmp_path: Path) -> str:
    (tmp_path / "weights.bin").write_bytes(b"\x00" * 100)
    (tmp_path / "score.py").write_text(SCRIPT)
    cli("model", "register", "weights.bin", "--name", "m")
    return "m:1"


def test_create_list_show_and_tag(cli: Cli, model: str) -> None:
    done = cli("image", "create", "i", "--model", model, "--script", "score.py", "--tag", "a=1")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("Created i:1, digest sha256:")
    shown = json.loads(cli("image", "show", "i", "-o", "json").stdout)
    assert shown["models"] == [model]
    assert shown["tags"] == {"a": "1"}
    assert shown["digest"].startswith("sha256:")
    assert json.loads(cli("image", "list", "-o", "json").stdout) == [shown]
    assert model in cli("image", "list").stdout
    assert cli("image", "tag", "i", "a=2", "--remove", "b").code == 0
    assert json.loads(cli("image", "show", "i:1", "-o", "json").stdout)["tags"] == {"a": "2"}


def test_the_same_inputs_give_the_same_digest(cli: Cli, model: str) -> None:
    digests = set()
    for _ in range(2):
        made = cli("image", "create", "i", "--model", model, "--script", "score.py", "-o", "json")
        digests.add(json.loads(made.stdout)["models"][0])
    assert len(digests) == 1


def test_a_model_in_use_is_not_deleted_and_the_users_are_named(cli: Cli, model: str) -> None:
    for name in ("first", "second"):
        cli("image", "create", name, "--model", model, "--script", "score.py")
    assert_refused(cli("model", "delete", model), "first:1", "second:1")
    for name in ("first", "second"):
        assert cli("image", "delete", f"{name}:1").code == 0
    assert cli("model", "delete", model).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["i", "--model", "nobody"],
        ["i", "--model", "m:7"],
        ["i", "--model", "m", "--script", "not-there.py"],
        ["i", "--model", "m", "--script", "score.py", "--source", "not-there"],
        ["i", "--model", "m", "--script", "score.py", "--requirements", "not-there"],
        ["../i", "--model", "m", "--script", "score.py"],
    ],
)
def test_what_cannot_be_packaged_is_refused(cli: Cli, model: str, arguments: list[str]) -> None:
    assert_refused(cli("image", "create", *arguments))


def test_an_unknown_image_is_refused(cli: Cli) -> None:
    for arguments in (["show", "i"], ["delete", "i:1"], ["tag", "i", "a=1"]):
        assert_refused(cli("image", *arguments), "i")
