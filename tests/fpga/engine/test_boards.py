"""Which board and which Python the environment means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fpga.errors import BoardError
from fpga.serving import boards, interpreter
from fpga.serving.boards import Choice


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("auto", Choice("auto")),
        ("local", Choice("local")),
        ("remote:192.168.2.99", Choice("remote", "192.168.2.99", 7967)),
        ("remote:pynq.local:8000", Choice("remote", "pynq.local", 8000)),
        ("remote:[::1]:8000", Choice("remote", "[::1]", 8000)),
        ("simulated", Choice("simulated")),
        ("simulated:arty-z7-10", Choice("simulated", "arty-z7-10")),
        ("emulated", Choice("emulated")),
        ("emulated:mine", Choice("emulated", "mine")),
    ],
)
def test_a_board_is_named_and_its_name_means_the_same_again(text: str, choice: Choice) -> None:
    assert boards.parse(text) == choice
    assert boards.parse(str(choice)) == choice
    assert choice.needs_pynq == (choice.kind != "emulated")


@pytest.mark.parametrize(
    "text",
    ["", "Local", "remote", "remote:", "remote:a b", "remote:h:0", "remote:h:65536", "remote:h:x",
     "local:1", "auto:", "emulated:", "emulated:../x", "simulated:" + "x" * 50, "remote:h\n"],
)  # fmt: skip
def test_what_is_no_board_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(BoardError, match=r"auto, local, remote:HOST\[:PORT\]") as refusal:
        boards.parse(text)
    assert "\n" not in str(refusal.value)


def test_auto_is_this_machines_board_where_it_has_one() -> None:
    auto = Choice("auto")
    assert boards.resolve(auto, lambda path: path == boards.MANAGER) == Choice("local")
    with pytest.raises(BoardError, match="has no FPGA board; set INFERRY_FPGA_BOARD"):
        boards.resolve(auto, lambda path: False)
    assert boards.resolve(Choice("emulated"), lambda path: False) == Choice("emulated")


def _choose(
    asked: str | None = None,
    *,
    needs_pynq: bool = True,
    has_it: bool = False,
    there: tuple[str, ...] = (),
) -> str:
    return interpreter.choose(
        asked, needs_pynq=needs_pynq, own="own", has_it=lambda: has_it, exists=there.__contains__
    )


def test_a_python_with_pynq_is_found() -> None:
    assert _choose(needs_pynq=False) == "own"
    assert _choose(has_it=True) == "own"
    assert _choose(there=(interpreter.IMAGES_PYTHON,)) == interpreter.IMAGES_PYTHON
    assert _choose("mine", has_it=True, there=("mine",)) == "mine"
    assert _choose("mine", needs_pynq=False, there=("mine",)) == "mine"


def test_where_there_is_none_it_is_said_what_to_do() -> None:
    with pytest.raises(BoardError, match="set INFERRY_FPGA_PYTHON"):
        _choose()
    with pytest.raises(BoardError, match="INFERRY_FPGA_PYTHON is 'mine', where no Python is"):
        _choose("mine", has_it=True)


def test_another_python_does_not_find_the_servers_packages(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": "here", "PYTHONHOME": "there", "BOARD": "Pynq-Z2"}
    other = interpreter.environment(environ, str(tmp_path / "python"))
    assert "PYTHONPATH" not in other
    assert "PYTHONHOME" not in other
    assert other["BOARD"] == "Pynq-Z2"
    assert interpreter.environment(environ, sys.executable)["PYTHONPATH"] == "here"
