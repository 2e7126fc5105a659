from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import InvalidSourceError
from registry.golden import first_input, read_golden

SCRIPT = "def init():\n    pass\n\n\ndef run(data):\n    return data\n"
GOOD = (
    '{"v": 1, "cases": [{"input": {"data": [1]}, "output": [1]}, {"input": null}],'
    ' "tolerance": {"absolute": 0.1}, "max_latency_ms": 50}'
)


def test_golden_inputs_lie_at_the_root_of_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / "cases.json").write_text(GOOD)
    with Workspace.init(tmp_path / "ws", base="none") as workspace:
        workspace.models.register(tmp_path / "weights.bin", name="m")
        image = workspace.images.create(
            "i",
            models=["m"],
            script=tmp_path / "score.py",
            golden=tmp_path / "cases.json",
            proof=False,
        )
        folder = workspace.images.unpack(image.reference, tmp_path / "bundle")
    assert (folder / "golden.json").read_text() == GOOD


def test_the_first_golden_input_is_what_the_proof_scores() -> None:
    assert first_input(b'{"v": 1, "cases": [{"input": {"data": [1]}}, {"input": 2}]}') == (
        b'{"data": [1]}'
    )
    assert first_input(b'{"v": 1, "cases": [{"input": "as it is"}]}') == b"as it is"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "JSON"),
        ("[]", '"v": 1'),
        ('{"v": 2, "cases": [{"input": 1}]}', '"v": 1'),
        ('{"v": 1, "cases": []}', "1 to 1000"),
        ('{"v": 1, "cases": [{"output": 1}]}', "case 1"),
        ('{"v": 1, "cases": [{"input": 1, "outptu": 1}]}', "case 1"),
        ('{"v": 1, "cases": [{"input": 1}], "tolerence": {}}', "tolerence"),
        ('{"v": 1, "cases": [{"input": 1}], "tolerance": {"absolute": -1}}', "tolerance"),
        ('{"v": 1, "cases": [{"input": 1}], "tolerance": {"absolute": NaN}}', "as a text"),
        ('{"v": 1, "cases": [{"input": 1}], "tolerance": {"absolute": 1e999}}', "tolerance"),
        ('{"v": 1, "cases": [{"input": 1, "output": -Infinity}]}', "as a text"),
        ('{"v": 1, "cases": [{"input": ' + "[" * 500 + "]" * 500 + "}]}", "nested"),
        ('{"v": 1, "cases": [{"input": 1}], "tolerance": {"abs": 1}}', "tolerance"),
        ('{"v": 1, "cases": [{"input": 1}], "max_latency_ms": 0}', "max_latency_ms"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_what_is_no_file_of_golden_inputs_is_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "golden.json"
    path.write_text(text)
    with pytest.raises(InvalidSourceError, match=r"golden\.json") as caught:
        read_golden(path)
    assert word in str(caught.value)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSourceError, match="cannot be read"):
        read_golden(tmp_path / "none.json")
    (tmp_path / "large.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(InvalidSourceError, match="larger"):
        read_golden(tmp_path / "large.json")
