"""Where the bodies of a load test come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry import Workspace
from runtime.bench import bodies
from runtime.bench.bodies import is_json, known_bodies, read_bodies, split_bodies
from runtime.errors import BadValueError
from tests.registry.onnx_files import adder


def test_a_file_is_one_body_and_lines_are_several(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"data":\n[1]}\n')
    (tmp_path / "a.jsonl").write_bytes(b'{"data": [1]}\r\n\n{"data": [2]}')
    assert read_bodies(tmp_path / "a.json") == (b'{"data":\n[1]}\n',)
    assert read_bodies(tmp_path / "a.jsonl") == (b'{"data": [1]}', b'{"data": [2]}')


def test_a_folder_has_a_body_in_each_file(tmp_path: Path) -> None:
    for name in ("b.bin", "a.bin", ".hidden"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "inner").mkdir()
    assert read_bodies(tmp_path) == (b"a.bin", b"b.bin")


def test_what_has_no_body_or_too_many_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(BadValueError, match="empty"):
        read_bodies(tmp_path / "empty")
    with pytest.raises(BadValueError, match="0 bodies"):
        split_bodies(b"\n\n", "x", has_lines=True)
    with pytest.raises(BadValueError, match="10001 bodies"):
        split_bodies(b"1\n" * 10_001, "x", has_lines=True)
    with pytest.raises(OSError, match="nothing"):
        read_bodies(tmp_path / "nothing")
    monkeypatch.setattr(bodies, "MOST_BYTES", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    for path in (tmp_path / "large", tmp_path):
        with pytest.raises(BadValueError, match="MiB"):
            read_bodies(path)


def test_what_a_body_is() -> None:
    assert is_json((b'{"a": 1}', b"\xff"))
    assert not is_json((b"\x00\x01",))
    assert not is_json((b"[" * 100_000,))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.init(tmp_path / "ws", base="none")
    made.models.register(adder(tmp_path / "m.onnx", constant=1.0), name="adder")
    return made


def test_an_image_that_says_nothing_is_asked_with_zeros_of_its_signature(
    workspace: Workspace,
) -> None:
    digest = workspace.images.create("adder", models=["adder"], proof=False).digest
    assert digest is not None
    [body], said = known_bodies(workspace, digest)
    [[values]] = json.loads(body).values()
    assert set(values) == {0.0}
    assert "zeros" in said


def test_golden_inputs_of_the_image_come_first(workspace: Workspace, tmp_path: Path) -> None:
    cases = [{"input": {"data": [[1.0]]}}, {"input": {"data": [[2.0]]}}]
    (tmp_path / "golden.json").write_text(json.dumps({"v": 1, "cases": cases}))
    made = workspace.images.create(
        "adder", models=["adder"], proof=False, golden=tmp_path / "golden.json"
    )
    assert made.digest is not None
    found, said = known_bodies(workspace, made.digest)
    assert [json.loads(body) for body in found] == [case["input"] for case in cases]
    assert "golden" in said


def test_a_script_does_not_say_what_it_takes(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    made = workspace.images.create(
        "adder", models=["adder"], script=tmp_path / "score.py", proof=False
    )
    assert made.digest is not None
    with pytest.raises(BadValueError, match="give --data"):
        known_bodies(workspace, made.digest)


def test_an_image_that_is_gone_is_said(workspace: Workspace) -> None:
    with pytest.raises(BadValueError, match="give --data"):
        known_bodies(workspace, "sha256:" + "0" * 64)
