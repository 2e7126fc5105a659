"""Runs the command line in this process, where that is enough: it is ten times faster."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from runtime.cli.main import run
from tests.runtime.server import Done


class Cli(Protocol):
    """``cli("model", "list")``: exit code and output of one command in a workspace of its own."""

    def __call__(self, *arguments: str) -> Done: ...


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """In a new folder that has a workspace."""
    monkeypatch.chdir(tmp_path)
    for name in ("INFERRY_WORKSPACE", "INFERRY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFERRY_BASE", "none")

    def call(*arguments: str) -> Done:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    assert call("init").code == 0
    return call
