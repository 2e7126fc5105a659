"""The judge of power cuts, and the disk that forgets; the machine is run by the benchmark."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.edge.powercut import Claims, parse
from benchmarks.edge.volatile_disk import VolatileDisk, Write, survivors

SIZE = 64 * 1024


def judged(*lines: str) -> list[str]:
    claims = Claims()
    for line in lines:
        claims.hear(line)
    return claims.wrong


def test_what_is_found_as_it_was_said_is_right() -> None:
    assert not judged(
        "found outbox a 0 1 0", "found switch 0", "ready", "done outbox a 0 1 9", "done image 1",
        "done switch 1", "will outbox a 0 5 9",
        "found outbox a 0 5 12", "found image 1", "found switch 2", "ready",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "found", "wrong"),
    [
        ("done outbox a 0 1 9", "found outbox a 0 1 8", "stream 0 ends at 8; 9 was durable"),
        ("done outbox a 0 1 9", "found outbox b 0 1 9", "the outbox began anew after ['a']"),
        ("done outbox a 0 1 9", "found outbox a 0 4 9", "stream 0 begins at 4"),
        ("done image 3", "found image 2", "images [3] were whole, and are not there"),
        ("done switch 3", "found switch 2", "version 2 is in service after 3"),
        ("done switch 3", "found switch 5", "version 5 is in service after 3"),
        ("wrong it failed", "found switch 0", "it failed"),
    ],
)
def test_what_is_missing_is_said(said: str, found: str, wrong: str) -> None:
    (first, *_) = judged(said, found, "ready")
    assert first.startswith(wrong)


def test_an_image_that_was_to_be_forgotten_may_be_gone() -> None:
    assert not judged("done image 3", "will image 3", "ready")


def test_a_line_that_the_cut_ended_was_not_said() -> None:
    assert list(parse(["\x1b[0m@ done image 3\r\n", "kernel\n", "@ done image 4"])) == [
        "done image 3"
    ]


def test_a_write_through_the_cache_survives_and_others_may_not() -> None:
    writes = [Write(0, b"a" * 1024, False), Write(512, b"b" * 512, True)]
    found = [dict(survivors(writes, random.Random(seed))) for seed in range(50)]
    assert all(each[512] == b"b" * 512 for each in found)
    assert {0 in each for each in found} == {True, False}


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VolatileDisk]:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with VolatileDisk(Path("disk.sock"), bytes(SIZE)) as made:
        yield made


class Client:
    """Speaks NBD."""

    def __init__(self, disk: VolatileDisk) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(disk.path))
        assert self.take(8) == b"NBDMAGIC"
        self.take(10)
        self.socket.sendall(struct.pack(">IQIIIH", 1, 0x49484156454F5054, 7, 6, 0, 0))
        _, _, _, length = struct.unpack(">QIII", self.take(20))
        _, self.size, _ = struct.unpack(">HQH", self.take(length))
        self.take(20)

    def take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part
            data += part
        return data

    def ask(self, kind: int, offset: int = 0, data: bytes = b"", length: int = 0) -> bytes:
        head = (0x25609513, 0, kind, 7, offset, len(data) or length)
        self.socket.sendall(struct.pack(">IHHQQI", *head) + data)
        assert struct.unpack(">IIQ", self.take(16)) == (0x67446698, 0, 7)
        return self.take(length)


def test_a_cut_takes_what_was_not_flushed_and_nothing_else(disk: VolatileDisk) -> None:
    client = Client(disk)
    with client.socket:
        assert client.size == SIZE
        client.ask(1, 0, b"a" * 4096)
        client.ask(3)
        client.ask(1, 4096, b"b" * 4096)
        assert client.ask(0, 0, length=8192) == b"a" * 4096 + b"b" * 4096
    losses = 0
    for seed in range(20):
        lost = disk.cut(random.Random(seed))
        losses += lost
        client = Client(disk)
        with client.socket:
            assert client.ask(0, 0, length=4096) == b"a" * 4096
            kept = client.ask(0, 4096, length=4096)
            assert kept.count(b"b") == 4096 - 512 * lost
            client.ask(1, 4096, bytes(4096))
            client.ask(3)
            client.ask(1, 4096, b"b" * 4096)
    assert losses > 0


def test_what_is_written_after_the_power_went_off_is_not_heard(disk: VolatileDisk) -> None:
    client = Client(disk)
    with client.socket:
        disk.power_off()
        with pytest.raises(AssertionError):
            client.ask(1, 0, b"a" * 512)
    disk.cut(random.Random(1))
    client = Client(disk)
    with client.socket:
        assert client.ask(0, 0, length=512) == bytes(512)
