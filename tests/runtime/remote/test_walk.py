"""Every command there is, by folder and by URL: it ends in the same way and says the same kind of
thing, or it is named here with what shows it, or with why it has nothing to do with a URL."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import click
import pytest

from registry import Workspace
from registry.distribution import Distribution
from runtime.cli.main import cli as whole
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served, serving
from tests.runtime.remote.walk import STEPS, Step, shape, written
from tests.runtime.server import Done
from tests.test_docs import commands

ROOT = Path(__file__).parents[3]
ALL = {name.removeprefix("inferry "): command for name, command in commands(whole, "inferry")}
ON_A_DEVICE = "it is of a device, and of no workspace"
ON_A_BOARD = "it is of files and boards here, and of no workspace"
WITHOUT = {
    "edge agent": ON_A_DEVICE,
    "fpga board": ON_A_BOARD,
    "fpga build": ON_A_BOARD,
    "fpga simulate": ON_A_BOARD,
    "restore": "it makes the folder, and is told where",
    "run resend": "it sends to where the run was",
}
"""Commands that are told of no workspace, and why."""
ELSEWHERE = {
    "audit list": "test_cli.py::test_what_reads_gives_the_same_by_folder_and_by_url",
    "bench": "test_score.py::test_a_load_test_says_where_to_run_it",
    "image push": "test_containers.py::test_a_container_is_made_verified_and_pushed",
    "login": "test_cli.py::test_a_token_is_kept_tried_and_forgotten",
    "logout": "test_cli.py::test_a_token_is_kept_tried_and_forgotten",
    "score": "test_score.py"
    "::test_a_deployment_on_the_services_machine_is_asked_through_it_with_its_key",
    "serve": "test_images.py::test_a_model_and_an_image_are_fetched_to_be_served_here",
    "whoami": "test_cli.py::test_a_token_is_kept_tried_and_forgotten",
}
"""Commands by URL that another test shows."""
OF_A_HUB = sorted(name for name in ALL if name.startswith("edge ") and name != "edge agent")
MORE = {"edge devices tag": ["k=v"], "edge hub": ["--embedded-broker"]}
"""What they need beside what is required."""
REFUSED = ["activity hook deliver", "backup", "init", "registry serve", "up", *OF_A_HUB]
"""What only the service's machine does: it is refused by URL."""


UNKNOWN = {"activity": "nobody", "hook": "1", "token": "no"}
"""What a step would have kept."""


def _command(step: Step) -> str:
    """``model alias set`` of what is typed."""
    words = step.words
    return next(name for n in (3, 2, 1) if (name := " ".join(words[:n])) in ALL)


def test_no_command_is_forgotten() -> None:
    walked = {_command(step) for step in STEPS}
    assert sorted([*walked, *REFUSED, *WITHOUT, *ELSEWHERE]) == sorted(ALL)


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_what_is_shown_elsewhere_is_there(place: str) -> None:
    file, _, function = place.partition("::")
    tree = ast.parse((Path(__file__).with_name(file)).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture
def alone(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with no token and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("INFERRY_TOKEN", "INFERRY_CA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return cli


class Walk(Protocol):
    """Goes the walk in the workspace ``where``: each step, and how it went."""

    def __call__(self, where: str, folder: Path) -> Iterator[tuple[Step, Done]]: ...


@pytest.fixture
def walk(alone: Cli, monkeypatch: pytest.MonkeyPatch) -> Walk:
    def go(where: str, folder: Path) -> Iterator[tuple[Step, Done]]:
        files, kept = written(folder), dict[str, str]()
        for step in STEPS:
            words = [_filled(word, files, kept) for word in step.words]
            output = ["-o", "json"] if step.is_json else []
            done = alone(*words, *output, "-w", where)
            yield step, done
            if step.keep is not None:
                kept[step.keep[0]] = _found(_document(done), step.keep[1])
            if "token" in kept:
                monkeypatch.setenv("INFERRY_TOKEN", kept["token"])
        monkeypatch.delenv("INFERRY_TOKEN", raising=False)

    return go


def _filled(word: str, files: Mapping[str, str], kept: Mapping[str, str]) -> str:
    for name, value in files.items():
        word = word.replace("{" + name + "}", value)
    return kept[word[1:]] if word.startswith("$") else word


def _found(document: object, keys: tuple[str | int, ...]) -> str:
    for key in keys:
        document = document[key]  # type: ignore[index]
    return str(document)


def _document(done: Done) -> object:
    """What was printed for a program: one document, or with what goes on one a line: the last."""
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return [json.loads(line) for line in done.stdout.splitlines()][-1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_command_says_the_same_by_folder_and_by_url(walk: Walk, tmp_path: Path) -> None:
    Workspace.init(tmp_path / "here/ws", base="none")
    here = list(walk(str(tmp_path / "here/ws"), tmp_path / "here/files"))
    with serving({"default": tmp_path / "there/ws"}) as served:
        there = list(walk(served.url, tmp_path / "there/files"))
    wrong = []
    for (step, by_folder), (_, by_url) in zip(here, there, strict=True):
        said = f"{step.command}\n  folder: {by_folder}\n  URL: {by_url}"
        if (by_folder.code, by_url.code) != (step.code, step.code):
            wrong.append(said)
        elif step.code:
            if not (_is_one_line(by_folder) and _is_one_line(by_url)):
                wrong.append(said)
        elif step.is_json and shape(_document(by_folder)) != shape(_document(by_url)):
            wrong.append(said)
    assert not wrong, "\n".join(wrong)


def _is_one_line(refused: Done) -> bool:
    """A refusal that a person can do something with."""
    is_internal = "internal error" in refused.stderr or "Traceback" in refused.stderr
    return refused.code == 1 and refused.stderr.count("\n") == 1 and not is_internal


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that lets in only who has a token; its workspace is empty."""
    root = tmp_path_factory.mktemp("closed") / "ws"
    Workspace.init(root, base="none")
    Distribution.open(root).tokens.create("owner", "owner", None)
    with serving({"default": root}) as served:
        yield served


def test_who_has_the_wrong_token_is_told_so_by_every_command(
    closed: Served, alone: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_TOKEN", "ify_wrong")
    files = written(tmp_path / "files")
    for step in STEPS:
        words = [_filled(word, files, UNKNOWN) for word in step.words]
        done = alone(*words, "-w", closed.url)
        assert _is_one_line(done), (step.command, done)
        assert "inferry login" in done.stderr, (step.command, done)


def test_a_reader_changes_nothing_by_any_command(
    closed: Served, alone: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Distribution.open(closed.local().root).tokens
    monkeypatch.setenv("INFERRY_TOKEN", tokens.create("reader", "reader", None))
    files = written(tmp_path / "files")
    before = _contents(closed.local().root)
    for step in STEPS:
        words = [_filled(word, files, UNKNOWN) for word in step.words]
        done = alone(*words, "-w", closed.url)
        assert done.code == 0 or _is_one_line(done), (step.command, done)
    assert _contents(closed.local().root) == before


def _contents(root: Path) -> list[tuple[str, int]]:
    """Every table of the workspace that is not about who asked what, and how many rows it has."""
    with sqlite3.connect(f"file:{root / 'workspace.db'}?mode=ro", uri=True) as database:
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return [
            (name, database.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
            for (name,) in sorted(tables)
            if not name.startswith("audit")
        ]


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_the_services_machine_does_is_refused_in_a_line(
    closed: Served, alone: Cli, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_WORKSPACE", closed.url)
    monkeypatch.setenv("INFERRY_TOKEN", "ify_any")
    given = [word for each in ALL[name].params if each.required for word in _value(each)]
    done = alone(*name.split(), *given, *MORE.get(name, []))
    assert _is_one_line(done), done
    assert "folder" in done.stderr, done


def _value(parameter: click.Parameter) -> list[str]:
    """Something that could be meant."""
    value = "1" if parameter.type is click.INT else "name"
    return [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
