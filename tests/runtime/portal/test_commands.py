"""The lines that pages say how to do the same elsewhere: there are such commands."""

from __future__ import annotations

import ast
import html
import re
import shlex
from pathlib import Path

import click
import pytest

from runtime.cli.main import cli
from tests.runtime.portal.browser_like import Visitor, portal
from tests.runtime.portal.content import Content

LINE = re.compile(r"<code data-(cli|python)>(.*?)</code>", re.DOTALL)


def parsed(words: list[str]) -> None:
    """As the command line would; nothing is done. Raises click.UsageError."""
    command: click.Command = cli
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found
        context = click.Context(command, parent=context)
    with command.make_context(command.name, list(words), parent=context):
        pass


def test_every_line_can_be_said(
    hostile: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    app = portal(hostile.workspace.root)
    seen = 0
    for path in hostile.pages:
        for kind, text in LINE.findall(Visitor(app).get(path).text):
            line = html.unescape(text)
            seen += 1
            if kind == "python":
                ast.parse(line)
                continue
            words = shlex.split(line)
            assert words[0] == "inferry"
            parsed(words[1:])
    assert seen > 40
    app.close()


def test_a_line_that_is_none_is_seen() -> None:
    with pytest.raises(click.UsageError):
        parsed(["run", "nothing"])
    with pytest.raises(click.UsageError):
        parsed(["run", "show"])
