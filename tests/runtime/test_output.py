"""Tables and JSON, and text that cannot harm a terminal."""

from __future__ import annotations

import json

import pytest

from runtime.cli.output import Record, print_record, print_records
from runtime.cli.progress import LINE_EVERY_S, SHOW_AFTER_S, Lines
from runtime.cli.text import one_line, printable, printable_lines, size
from runtime.cli.values import pairs
from runtime.errors import BadValueError


def test_a_piped_table_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    records: list[Record] = [
        {"name": "n" * 200, "tags": {"a": "1", "b": ""}},
        {"name": "m", "tags": {}},
    ]
    print_records(records, ["name", "tags"], "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME".ljust(202) + "TAGS", "n" * 200 + "  a=1, b", "m"]


def test_json_has_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"name": "m", "tags": {"é": "\x00"}, "hidden": None}]
    print_records(records, ["name"], "json")
    out = capsys.readouterr().out
    assert json.loads(out) == records
    assert out.isascii()


def test_a_record_has_a_line_for_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"name": "m", "tags": {"a": "1", "b": "2"}, "log": "one\ntwo", "no": []}, "table")
    assert capsys.readouterr().out.splitlines() == [
        "name  m",
        "tags  a=1",
        "      b=2",
        "log   one",
        "      two",
        "no",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[2J", "a\\x1b[2J"), ("a\nb", "a\\nb"), ("\u202egpj", "\\u202egpj"), ("ü 数", "ü 数")],
)
def test_printable_disarms_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_keep_their_tabs() -> None:
    assert printable_lines("a\tb\x1b[2J\r\nc") == "a\tb\\x1b[2J\nc"


def test_one_line() -> None:
    assert one_line("a\n  b\tc\x07") == "a b c\\x07"
    assert one_line("") == "failed without a message"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40, "1.0 TiB"), (2**60, "1048576.0 TiB")],
)
def test_size(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


def test_pairs() -> None:
    assert pairs(["a=1", "b", "c=x=y", "a=1"], "tag") == {"a": "1", "b": "", "c": "x=y"}
    with pytest.raises(BadValueError, match="no key"):
        pairs(["=1"], "tag")
    with pytest.raises(BadValueError, match="twice"):
        pairs(["a=1", "a=2"], "tag")


def test_progress_lines_are_few_and_come_only_for_long_work() -> None:
    now = 0.0
    said: list[str] = []
    lines = Lines("Registering", echo=said.append, clock=lambda: now)
    lines(10, 100)
    now = SHOW_AFTER_S
    lines(20, 2048)
    lines(30, 2048)
    now += LINE_EVERY_S
    lines(0, 0)
    assert said == ["Registering: 0 % of 2.0 KiB", "Registering: 100 % of 0 B"]
