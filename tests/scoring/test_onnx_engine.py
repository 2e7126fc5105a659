"""onnxruntime behind our names: refusals in one line, no paths, many threads, no telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scoring.errors import InputError, ModelLoadError
from scoring.onnx_engine import OnnxEngine
from scoring.signature import TensorSpec
from scoring.tensors import dtype_of

ROOT = Path(__file__).parents[2]
OPSET = [helper.make_opsetid("", 17)]


def _info(name: str, shape: list[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], *held: Any) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(held))
    onnx.save(helper.make_model(graph, opset_imports=OPSET), path)
    return path


def _adding(folder: Path) -> Path:
    return _save(
        folder / "adding.onnx",
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [_info("a", ["N", 3]), _info("b", ["N", 3])],
        [_info("y", ["N", 3])],
    )


def _with_external_data(folder: Path, location: str) -> Path:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    weights.external_data.add(key="offset", value="0")
    weights.external_data.add(key="length", value="12")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "g",
        [_info("x", ["N", 3])],
        [_info("y", ["N", 3])],
        [weights],
    )
    path = folder / "external.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=OPSET).SerializeToString())
    return path


def _refused(path: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        OnnxEngine.load(path, threads=1)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert "Traceback" not in text
    for folder in (str(path.parent), str(ROOT), sys.prefix, "/"):
        assert folder not in text
    return text


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 64, b"this is a text file\n", os.urandom(1000), b"PK\x03\x04" + b"\x00" * 100],
    ids=["empty", "zeros", "text", "random", "zip"],
)
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    _refused(path)


def test_a_truncated_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = _adding(tmp_path)
    whole = path.read_bytes()
    for size in range(1, len(whole), 7):
        path.write_bytes(whole[:size])
        _refused(path)


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    _refused(tmp_path / "none.onnx")


def test_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "folder.onnx"
    path.mkdir()
    _refused(path)


def test_missing_external_data_is_refused_in_one_line(tmp_path: Path) -> None:
    _refused(_with_external_data(tmp_path, "weights.bin"))


def test_short_external_data_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\0" * 4)
    _refused(_with_external_data(tmp_path, "weights.bin"))


@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_external_data_outside_the_models_folder_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "secret.bin"
    outside.write_bytes(np.ones(3, np.float32).tobytes())
    location = {"parent": "../secret.bin", "absolute": str(outside), "link": "in.bin"}[kind]
    if kind == "link":
        (folder / "in.bin").symlink_to(outside)
    _refused(_with_external_data(folder, location))


def test_external_data_beside_the_model_loads(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    engine = OnnxEngine.load(_with_external_data(tmp_path, "weights.bin"), threads=1)
    assert engine.run({"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[1, 2, 3]]


def test_an_unknown_operator_is_refused_by_name(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "odd.onnx",
        [helper.make_node("NoSuchOperator", ["x"], ["y"])],
        [_info("x", [1])],
        [_info("y", [1])],
    )
    assert "NoSuchOperator" in _refused(path)


def test_the_signature_has_names_types_and_shapes(tmp_path: Path) -> None:
    engine = OnnxEngine.load(_adding(tmp_path), threads=1)
    assert engine.signature.inputs == (
        TensorSpec("a", "float32", ("N", 3)),
        TensorSpec("b", "float32", ("N", 3)),
    )
    assert engine.signature.outputs == (TensorSpec("y", "float32", ("N", 3)),)


def test_inputs_that_disagree_with_each_other_are_the_clients_fault(tmp_path: Path) -> None:
    engine = OnnxEngine.load(_adding(tmp_path), threads=1)
    with pytest.raises(InputError) as caught:
        engine.run({"a": np.ones((2, 3), np.float32), "b": np.ones((5, 3), np.float32)})
    text = "inputs 'a' [2,3] and 'b' [5,3] disagree: N is 2 in one and 5 in the other"
    assert text in str(caught.value)
    good = engine.run({"a": np.ones((1, 3), np.float32), "b": np.ones((1, 3), np.float32)})
    assert good["y"].tolist() == [[2, 2, 2]]


def test_inputs_of_unnamed_sizes_that_disagree_are_the_clients_fault(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    path = _save(
        tmp_path / "m.onnx", nodes, [_info("a", [None]), _info("b", [None])], [_info("y", [None])]
    )
    engine = OnnxEngine.load(path, threads=1)
    with pytest.raises(InputError) as caught:
        engine.run({"a": np.ones(2, np.float32), "b": np.ones(5, np.float32)})
    assert "\n" not in str(caught.value)
    assert "/" not in str(caught.value)
    wider = engine.run({"a": np.ones(2, np.float32), "b": np.ones(1, np.float32)})
    assert wider["y"].tolist() == [2, 2]


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"a": np.ones((1, 3), np.float32)},
        {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.float32)},
        {"a": np.ones((1, 3), np.float64), "b": np.ones((1, 3), np.float32)},
        {"a": np.ones(3, np.float32), "b": np.ones((1, 3), np.float32)},
    ],
    ids=["none", "one", "size", "dtype", "rank"],
)
def test_inputs_that_do_not_fit_are_refused(tmp_path: Path, inputs: dict[str, Any]) -> None:
    engine = OnnxEngine.load(_adding(tmp_path), threads=1)
    with pytest.raises(InputError):
        engine.run(inputs)


def test_text_and_lists_go_in_beside_types_that_numpy_lacks(tmp_path: Path) -> None:
    bits = _info("b", ["N"], TensorProto.BFLOAT16)
    text = _info("s", ["N"], TensorProto.STRING)
    items = helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("Identity", ["s"], ["t"]),
        helper.make_node("Cast", ["b"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("SequenceLength", ["q"], ["n"]),
    ]
    outputs = [
        _info("t", ["N"], TensorProto.STRING),
        _info("f", ["N"]),
        _info("n", [], TensorProto.INT64),
    ]
    engine = OnnxEngine.load(_save(tmp_path / "m.onnx", nodes, [bits, text, items], outputs))
    one = np.ones(1, dtype_of("bfloat16"))
    answered = engine.run({"b": one, "s": np.array(["é"], object), "q": [np.ones(2, np.float32)]})
    assert {name: value.tolist() for name, value in answered.items()} == {
        "t": ["é"],
        "f": [1.0],
        "n": 1,
    }


@pytest.mark.parametrize(
    "extra",
    [
        _info("s", ["N"], TensorProto.STRING),
        helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None),
    ],
    ids=["text", "list"],
)
def test_text_and_lists_in_with_such_types_out_do_not_load(tmp_path: Path, extra: Any) -> None:
    bits = [_info(name, ["N"], TensorProto.BFLOAT16) for name in "bc"]
    nodes = [
        helper.make_node("Identity", ["b"], ["c"]),
        helper.make_node("Identity", ["s"], ["t"]),
    ]
    same = helper.make_value_info("t", extra.type)
    path = _save(tmp_path / "m.onnx", nodes, [bits[0], extra], [bits[1], same])
    assert "input 's'" in _refused(path)
    assert "output 'c' is bfloat16" in _refused(path)


@pytest.mark.slow
def test_many_threads_get_the_answers_of_one(tmp_path: Path) -> None:
    engine = OnnxEngine.load(_adding(tmp_path), threads=1)

    def is_right(seed: int) -> bool:
        numbers = np.random.default_rng(seed)
        a, b = (numbers.random((seed % 50 + 1, 3), np.float32) for _ in range(2))
        return bool(np.array_equal(engine.run({"a": a, "b": b})["y"], a + b))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(is_right, range(2000)))


AT_IMPORT = """
import os, sys
seen = []

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Hook())
from pathlib import Path
from scoring.onnx_engine import OnnxEngine
assert "onnxruntime" not in sys.modules
OnnxEngine.load(Path(sys.argv[1]), threads=1)
print(seen, os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "printed"), [(None, "['1'] 1\n"), ("0", "['0'] 0\n")], ids=["unset", "users choice"]
)
def test_telemetry_is_off_before_onnxruntime_is_imported(
    tmp_path: Path, given: str | None, printed: str
) -> None:
    left_out = {"ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "TF_BUILD"}
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    environ["PYTHONPATH"] = str(ROOT)
    if given is not None:
        environ["ORT_DISABLE_TELEMETRY"] = given
    ended = subprocess.run(
        [sys.executable, "-c", AT_IMPORT, str(_adding(tmp_path))],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == printed
