"""What a self-test printed, told from what a script printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import InvalidSourceError, ProofError
from registry.proof import MAX_SAMPLE_BYTES, read_sample
from registry.proof.report import find_report, judge

OK = '{"ok": true, "imports": {}, "ready_s": 0.4, "score": {"skipped": "no sample"}, "cause": null}'
BAD = '{"ok": false, "imports": {}, "ready_s": null, "score": null, "cause": "init() raised X"}'


def test_the_last_report_counts_wherever_it_stands() -> None:
    assert find_report(f"log\n{OK}\n{BAD}\n") == find_report(BAD)
    assert find_report(f'half a line{OK}\nmore {{"ok": true}}\n{{"ok": tr') == find_report(OK)
    assert find_report('{"ok": true}') is None
    assert find_report("") is None


def test_without_a_report_the_ending_and_the_last_line_are_the_cause() -> None:
    with pytest.raises(ProofError, match="not tested: it ended with exit code 1: last") as raised:
        judge(None, "it ended with exit code 1", "first\n last \n\n")
    assert raised.value.log == "first\n last \n\n"
    with pytest.raises(ProofError, match=r"init\(\) raised X"):
        judge(find_report(BAD), "", "")
    assert judge(find_report(OK), "", "") == "loads; not scored: no sample"


@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000, b"nothing"])
def test_a_sample_that_is_no_json_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "sample").write_bytes(data)
    with pytest.raises(InvalidSourceError, match="is no JSON"):
        read_sample(tmp_path / "sample")


def test_a_sample_is_a_file_of_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "sample.json"
    path.write_bytes(b'{"data": [1]}')
    assert read_sample(path) == b'{"data": [1]}'
    with pytest.raises(InvalidSourceError, match="is a folder"):
        read_sample(tmp_path)
    with pytest.raises(InvalidSourceError):
        read_sample(tmp_path / "gone")
    with path.open("wb") as file:
        file.truncate(MAX_SAMPLE_BYTES + 1)
    with pytest.raises(InvalidSourceError, match="is larger than"):
        read_sample(path)
