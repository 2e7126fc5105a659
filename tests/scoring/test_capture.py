"""The capture file: what is in it, and what happens when it cannot be written."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.watching.capture import Capture, Counts, Record, _body

JSON_TYPE = "application/json"


def record(input: bytes = b"[1]", output: bytes = b"[2]", number: int = 0) -> Record:
    return Record(
        at=1_700_000_000.25,
        request_id=f"id-{number}",
        route="/score",
        model="digits",
        version="3",
        status=200,
        seconds=0.0123456,
        input=input,
        input_type=JSON_TYPE,
        output=output,
        output_type=JSON_TYPE,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


def captured(path: Path, *records: Record, **options: Any) -> Counts:
    capture = Capture(path, **{"share": 1, "max_bytes": 10**7, **options})
    for one in records:
        capture.offer(one)
    capture.close()
    return capture.counts


def test_a_line_has_the_request_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    long_number = b'{"a":\n 123456789012345678901234567890, "b": 1.50}'
    assert captured(path, record(long_number, b"\x00\xff")) == Counts(1, 0, 0)
    assert path.read_bytes().count(b"\n") == 1
    assert b'{"a":123456789012345678901234567890,"b":1.50}' in path.read_bytes()
    assert lines(path) == [
        {
            "time": "2023-11-14T22:13:20.250Z",
            "request_id": "id-0",
            "route": "/score",
            "model": "digits",
            "version": "3",
            "status": 200,
            "milliseconds": 12.346,
            "input": {
                "content_type": JSON_TYPE,
                "bytes": len(long_number),
                "json": {"a": 123456789012345678901234567890, "b": 1.5},
            },
            "output": {"content_type": JSON_TYPE, "bytes": 2, "base64": "AP8="},
        }
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_stream_has_a_flag_in_place_of_its_output(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    long_input = b"[" + b"1," * 100 + b"1]"
    stream = msgspec.structs.replace(record(long_input), output=None, output_type="text/plain")
    assert captured(path, stream, body_bytes=10) == Counts(1, 0, 0)
    (line,) = lines(path)
    assert line["output"] == {"content_type": "text/plain", "streamed": True}
    assert line["input"]["truncated"]


def test_opening_says_what_no_record_could_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Capture(tmp_path / "nowhere/captured.jsonl", 1, 10**7).open()
    capture = Capture(tmp_path / "captured.jsonl", 1, 10**7)
    capture.open()
    capture.offer(record())
    capture.close()
    assert len(lines(tmp_path / "captured.jsonl")) == 1


documents = st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)


@settings(max_examples=30)
@given(st.binary() | documents.map(lambda value: json.dumps(value, indent=1).encode()))
def test_any_body_is_one_line_that_gives_it_back(body: bytes) -> None:
    line = msgspec.json.encode(_body(body, len(body), ""))
    assert b"\n" not in line
    found = json.loads(line)
    if "json" in found:
        assert found["json"] == json.loads(body)
    else:
        assert base64.b64decode(found["base64"]) == body


def test_a_long_body_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    body = json.dumps([1] * 1000).encode()
    captured(path, record(body), body_bytes=100)
    found = lines(path)[0]["input"]
    assert (found["bytes"], found["truncated"]) == (len(body), True)
    assert base64.b64decode(found["base64"]) == body[:100]
    assert len(path.read_bytes()) < 1000


def test_the_share_is_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    draws = iter([0.0, 0.25, 0.1, 0.9, 0.2499])
    records = [record(number=number) for number in range(5)]
    assert captured(path, *records, share=0.25, random=lambda: next(draws)) == Counts(3, 0, 0)
    assert [line["request_id"] for line in lines(path)] == ["id-0", "id-2", "id-4"]
    with pytest.raises(ValueError, match="from 0 to 1, not 2"):
        Capture(path, 2, 1)


def test_the_size_is_a_cap_and_a_file_that_is_moved_away_begins_anew(tmp_path: Path) -> None:
    path, old = tmp_path / "captured.jsonl", tmp_path / "old.jsonl"
    captured(path, record())
    length = path.stat().st_size
    assert captured(path, *[record()] * 4, max_bytes=3 * length + 1) == Counts(2, 2, 0)
    assert path.stat().st_size == 3 * length
    capture = Capture(path, 1, 3 * length)
    capture.offer(record())
    wait_for(capture, Counts(0, 1, 0))
    path.rename(old)
    capture.offer(record())
    capture.close()
    assert (capture.counts, len(lines(path)), len(lines(old))) == (Counts(1, 1, 0), 1, 3)


def wait_for(capture: Capture, counts: Counts) -> None:
    ends = time.monotonic() + 45
    while capture.counts != counts and time.monotonic() < ends:
        os.sched_yield()
    assert capture.counts == counts


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    path.write_text('{"time": "20')
    captured(path, record(), record())
    torn, *whole = path.read_text().splitlines()
    assert torn == '{"time": "20'
    assert [json.loads(line)["request_id"] for line in whole] == ["id-0", "id-0"]


def test_a_full_disk_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert captured(Path("/dev/full"), *[record()] * 3) == Counts(0, 0, 3)
    assert [r.getMessage() for r in caplog.records] == [
        "requests cannot be captured: [Errno 28] No space left on device"
    ]


def test_capturing_goes_on_once_the_file_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "captured.jsonl"
    capture = Capture(path, 1, 10**6)
    capture.offer(record())
    wait_for(capture, Counts(0, 0, 1))
    path.parent.mkdir()
    capture.offer(record())
    capture.close()
    assert capture.counts == Counts(1, 0, 1)


def test_a_file_that_blocks_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)  # opening it for writing waits for a reader, who comes at the end
    capture = Capture(path, 1, 10**6, waiting=4)
    for number in range(50):
        capture.offer(record(number=number))
    assert capture.counts.dropped in (45, 46)
    capture.close(timeout_s=0.01)
    capture.offer(record())
    assert capture.counts.dropped in (46, 47)
    with path.open("rb") as reader:
        capture.close()
        assert len(reader.read().splitlines()) == capture.counts.written in (4, 5)


def test_nothing_offered_is_no_file(tmp_path: Path) -> None:
    assert captured(tmp_path / "captured.jsonl") == Counts(0, 0, 0)
    assert not list(tmp_path.iterdir())


WRITER = """
import sys
from pathlib import Path
from tests.scoring.test_capture import captured, record
body = b"[" + b"1," * 20_000 + b"1]"
records = [record(body if n % 2 else b"[1]", number=n) for n in range(100)]
print(captured(Path(sys.argv[1]), *records).written)
"""


@pytest.mark.slow
def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "captured.jsonl"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert [int(writer.communicate()[0]) for writer in writers] == [100] * 3
    found = lines(path)
    assert sorted(line["request_id"] for line in found) == sorted(
        f"id-{number}" for number in [*range(100)] * 3
    )
