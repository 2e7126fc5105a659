"""The command line as a whole: fast help, exit codes, one line of error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from runtime.cli import main
from tests.runtime.server import BIN, environment, inferry

HEAVY = {
    "numpy",
    "onnx",
    "onnxruntime",
    "starlette",
    "uvicorn",
    "rich",
    "msgspec",
    "sqlite3",
    "registry",
}


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from runtime.cli.main import run; run(['--help']); print('|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.rpartition("|")[2].split())


def test_help_lists_every_command_with_its_own_help(tmp_path: Path) -> None:
    done = inferry("--help", cwd=tmp_path)
    assert done.code == 0
    context = click.Context(main.cli)
    for name, (_where, summary) in main.COMMANDS.items():
        assert name in done.stdout
        command = main.cli.get_command(context, name)
        assert command is not None
        assert command.help is not None
        assert command.help.splitlines()[0].startswith(summary.rstrip("."))


def test_version(tmp_path: Path) -> None:
    done = inferry("--version", cwd=tmp_path)
    assert (done.code, done.stdout) == (0, "inferry 0.1.0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["model", "register"],
        ["model", "list", "--output", "xml"],
        ["model", "tag", "digits"],
        ["image", "create", "i"],
        ["image", "create", "i", "--model", "m", "--kind", "gpu"],
        ["image", "create", "i", "--model", "m", "--requirements", "r", "--conda", "c"],
        ["serve", "m.onnx", "--port", "70000"],
        ["serve", "m.onnx", "--workers", "0"],
        ["score", "http://127.0.0.1:1"],
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], tmp_path: Path) -> None:
    done = inferry(*arguments, cwd=tmp_path)
    assert done.code == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["model", "list"],
        ["model", "list", "-w", "not-there"],
        ["purge", "-w", "/dev/null"],
        ["serve", "digits"],
        ["serve", "./not-there.onnx"],
        ["score", "http://127.0.0.1:1", "--data", "-"],
        ["score", "ftp://127.0.0.1/", "--data", "-"],
        ["score", "http://[oops", "--data", "-"],
        ["score", "digits", "--data", "-"],
    ],
)
def test_refusals_exit_with_1_and_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = inferry(*arguments, cwd=tmp_path)
    assert done.code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_an_unexpected_exception_is_one_line_and_a_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_kwargs: object) -> None:
        raise ZeroDivisionError("a\x1b[31m\nb")

    monkeypatch.setattr(main.cli, "main", fail)
    monkeypatch.delenv("INFERRY_DEBUG", raising=False)
    assert main.run([]) == 1
    assert capsys.readouterr().err == (
        "inferry: internal error: ZeroDivisionError: a\\x1b[31m b "
        "(set INFERRY_DEBUG=1 for the traceback)\n"
    )
    monkeypatch.setenv("INFERRY_DEBUG", "1")
    assert main.run([]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(**_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.cli, "main", interrupt)
    assert main.run([]) == 1
    assert capsys.readouterr().err == "inferry: interrupted\n"


def test_a_reader_that_has_seen_enough_is_no_crash(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [BIN / "inferry", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    process.wait(60)
