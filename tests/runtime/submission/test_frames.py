"""Frames and lines, however the bytes are cut."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.tree import SourceFile
from runtime.submission.downloads import Downloads
from runtime.submission.errors import LostError
from runtime.submission.following import Outcome
from runtime.submission.frames import Frame, Frames, Lines
from runtime.submission.kept import Said
from runtime.submission.submission import meaning
from runtime.submitted.layout import MAGIC

FRAME = st.tuples(st.sampled_from([b"L", b"J", b"S", b"D"]), st.binary(max_size=50))


def packed(letter: bytes, data: bytes) -> bytes:
    return struct.pack(">cI", letter, len(data)) + data


@given(st.lists(FRAME, max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_frames_come_whole_wherever_the_bytes_are_cut(
    frames: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    data = b"welcome\n" + MAGIC + b"".join(packed(*frame) for frame in frames)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = Frames()
    found = [frame for start, end in pairwise(edges) for frame in reader.take(data[start:end])]
    assert found == [Frame(*frame) for frame in frames]


@pytest.mark.parametrize("data", [b"HTTP/1.1 200", packed(b"X", b""), b"L\xff\xff\xff\xff"])
def test_what_is_no_frame_ends_the_connection(data: bytes) -> None:
    with pytest.raises(LostError):
        list(Frames().take(MAGIC + data))


def test_a_server_that_says_something_else_is_not_heard_for_ever() -> None:
    with pytest.raises(LostError, match="do its shell's files print"):
        list(Frames().take(b"x" * 70_000))


@given(st.binary(max_size=300), st.integers(0, 300))
def test_lines_lose_nothing_but_what_was_written_over(data: bytes, cut: int) -> None:
    lines = Lines()
    found = [*lines.take(data[:cut]), *lines.take(data[cut:]), *lines.end()]
    expected = [line.rstrip(b"\r").rsplit(b"\r", 1)[-1] for line in data.split(b"\n")]
    assert found[: data.count(b"\n")] == [
        line.decode("utf-8", "replace") for line in expected[: data.count(b"\n")]
    ]


def test_a_download_that_a_lost_connection_cut_is_begun_again(tmp_path: Path) -> None:
    asked: list[Any] = []
    came: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    downloads = Downloads(tmp_path, asked.append)

    def done(found: Any, missing: Any) -> None:
        files: dict[str, SourceFile] = dict(found)
        came.update({key: (file.root / file.path).read_bytes() for key, file in files.items()})
        failed.update(missing)

    downloads.add({"a": "x/a", "b": "x/b", "c": "x/c"}, done)
    assert [each["path"] for each in asked] == ["x/a", "x/b", "x/c"]
    for letter, data in ((b"B", b'{"size": 3}'), (b"D", b"one"), (b"E", b"{}"), (b"B", b"{}")):
        downloads.take(Frame(letter, data))
    downloads.take(Frame(b"D", b"ha"))
    downloads.again()
    assert [each["path"] for each in asked[3:]] == ["x/b", "x/c"]
    for letter, data in ((b"B", b"{}"), (b"D", b"half"), (b"E", b"{}")):
        downloads.take(Frame(letter, data))
    assert not came
    downloads.take(Frame(b"E", b'{"error": "no plain file"}'))
    assert downloads.is_idle
    assert came == {"a": b"one", "b": b"half"}
    assert failed == {"c": "no plain file"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("outcome", "said", "last", "meant"),
    [
        (Outcome("exit", "", 0), None, ["x"], ("finished", None)),
        (Outcome("exit", "", 0), Said("failed", "bad", 1), [], ("failed", "bad")),
        (Outcome("exit", "", 2), None, ["a", "b"], ("failed", "exit code 2: a | b")),
        (Outcome("exit", "", 1), Said("failed", "bad", 1), ["a"], ("failed", "bad (exit code 1)")),
        (Outcome("exit", "", -11), None, [], ("failed", "signal SIGSEGV")),
        (Outcome("cancelled"), Said("finished", None, 1), [], ("killed", "cancelled")),
        (Outcome("timeout", "too long"), None, ["a"], ("failed", "too long")),
    ],
)
def test_how_a_run_ended(
    outcome: Outcome, said: Said | None, last: list[str], meant: tuple[str, str | None]
) -> None:
    assert meaning(outcome, said, last) == meant
