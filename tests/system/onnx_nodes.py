"""The node tests of the ``onnx`` package: collected, spelled as JSON, and run by onnxruntime alone.

``answer_of`` is the yardstick for the server: it shares no code with scoring/.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

NUMPY_LACKS = {
    TensorProto.BFLOAT16,
    TensorProto.FLOAT8E4M3FN,
    TensorProto.FLOAT8E4M3FNUZ,
    TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ,
    TensorProto.FLOAT8E8M0,
    TensorProto.UINT4,
    TensorProto.INT4,
    TensorProto.UINT2,
    TensorProto.INT2,
}


@dataclass(frozen=True)
class NodeCase:
    """A model with the inputs by name and the outputs that it must give for them."""

    name: str
    model: Any
    inputs: dict[str, Any]
    expected: dict[str, Any]
    rtol: float
    atol: float

    def __repr__(self) -> str:
        return f"<NodeCase {self.name}>"

    @property
    def op(self) -> str:
        """The first node's operator."""
        return str(self.model.graph.node[0].op_type)

    @property
    def input_types(self) -> set[str]:
        """ONNX's names of the inputs' element types; optional and sequence for those kinds."""
        return {_type_name(value.type) for value in self.model.graph.input}

    @property
    def has_optional(self) -> bool:
        """Whether a value that may be absent goes in or out."""
        values = (*self.model.graph.input, *self.model.graph.output)
        return any(value.type.HasField("optional_type") for value in values)


@functools.cache
def node_cases() -> dict[str, NodeCase]:
    """All of the package's node tests by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():  # the package's own arithmetic overflows here and there
        warnings.simplefilter("ignore")
        return {case.name: _node_case(case) for case in collect_testcases(None)}


def to_json(value: Any) -> Any:
    """``value`` as docs/ spells it in a request."""
    if isinstance(value, list):
        return [to_json(item) for item in value]
    array = np.asarray(value)
    flat: list[Any]
    if array.dtype.kind in "OSU":
        flat = [item.decode() if isinstance(item, bytes) else str(item) for item in array.flat]
    elif array.dtype.kind in "biu":
        flat = array.reshape(-1).tolist()
    elif array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        flat = [int(item) for item in array.flat]
    else:
        flat = [_number(float(item)) for item in array.flat]
    if array.size == 0:
        return {"shape": list(array.shape), "data": []}
    nested = np.empty(array.size, dtype=object)
    nested[:] = flat
    return nested.reshape(array.shape).tolist()


def differences(case: NodeCase, answered: dict[str, Any]) -> str | None:
    """What is wrong with the outputs, arrays or parsed JSON, or None."""
    if list(answered) != list(case.expected):
        return f"outputs {list(answered)} instead of {list(case.expected)}"
    try:
        for name, expected in case.expected.items():
            _compare(expected, answered[name], case)
    except (AssertionError, ValueError, TypeError) as error:
        return " ".join(str(error).split())[:300] or type(error).__name__
    return None


def session_of(model: bytes | str) -> Any:
    """onnxruntime's own session of a serialized model or of a file."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answer_of(case: NodeCase) -> dict[str, Any]:
    """onnxruntime's own answer. Raises what it raises."""
    session = session_of(case.model.SerializeToString())
    names = [node.name for node in session.get_outputs()]
    numbers = {
        v.name: _element(v.type) for v in (*case.model.graph.input, *case.model.graph.output)
    }
    if NUMPY_LACKS.isdisjoint(numbers.values()):
        return dict(zip(names, session.run(None, case.inputs), strict=True))
    feeds = {name: _ort_value(value, numbers[name]) for name, value in case.inputs.items()}
    values = session.run_with_ort_values(None, feeds)
    return {n: _from_ort(v, numbers[n]) for n, v in zip(names, values, strict=True)}


def with_own_answer(case: NodeCase) -> NodeCase:
    """The case with onnxruntime's own answer as the expected one."""
    return replace(case, expected=answer_of(case), rtol=1e-5, atol=1e-6)


def fault_of(case: NodeCase) -> str | None:
    """Why onnxruntime alone does not give the expected answer, or None where it does."""
    try:
        return differences(case, answer_of(case))
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        return " ".join(str(error).split())[:300]


def _node_case(case: Any) -> NodeCase:
    [(inputs, outputs)] = case.data_sets
    graph = case.model.graph
    return NodeCase(
        case.name,
        case.model,
        {v.name: _plain(x) for v, x in zip(graph.input, inputs, strict=True)},
        {v.name: _plain(x) for v, x in zip(graph.output, outputs, strict=True)},
        case.rtol,
        case.atol,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value if value is None else np.asarray(value)


def _number(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _compare(expected: Any, answered: Any, case: NodeCase) -> None:
    if isinstance(expected, list):
        assert isinstance(answered, list), "no list"
        assert len(answered) == len(expected), f"{len(answered)} items, not {len(expected)}"
        for one, other in zip(expected, answered, strict=True):
            _compare(one, other, case)
        return
    if expected is None:
        assert answered is None, "a value where none is due"
        return
    expected = np.asarray(expected)
    if expected.dtype.kind in "OSU":
        texts = np.asarray(answered, dtype=object)
        assert texts.size == expected.size == 0 or texts.shape == expected.shape, texts.shape
        decoded = [i.decode() if isinstance(i, bytes) else i for i in expected.flat]
        assert list(texts.flat) == decoded, list(texts.flat)[:5]
        return
    got = _values(answered)
    if got.size == expected.size == 0:  # JSON lists do not tell the sizes behind a zero
        return
    assert got.shape == expected.shape, f"shape {got.shape}, not {expected.shape}"
    assert (got.dtype.kind == "b") == (expected.dtype.kind == "b"), got.dtype
    if expected.dtype.name in ("int4", "uint4", "int2", "uint2"):
        expected = expected.astype(np.int64)
    elif expected.dtype.kind not in "biu":
        expected, got = expected.astype(np.float64), got.astype(np.float64)
    np.testing.assert_allclose(got, expected, rtol=case.rtol, atol=case.atol)


def _values(answered: Any) -> Any:
    """Numbers or booleans of an array or of JSON lists."""
    array = np.asarray(answered) if isinstance(answered, np.ndarray) else _parsed(answered)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        return array.astype(np.int64)
    assert array.dtype.kind != "O", "lists of different lengths, or null"
    return array.astype(np.float64)  # "NaN" and "Infinity" are Python's own spellings too


def _parsed(value: Any) -> Any:
    array = np.array(value)
    if array.dtype.kind == "U":  # numpy would round when it turns floats into text
        flat = [float(item) for item in np.array(value, dtype=object).flat]
        array = np.array(flat).reshape(array.shape)
    return array


def _element(type_: Any) -> int:
    return int(type_.tensor_type.elem_type)


def _type_name(type_: Any) -> str:
    if not type_.HasField("tensor_type"):
        return str(type_.WhichOneof("value")).removesuffix("_type")
    return str(TensorProto.DataType.Name(_element(type_)))


def _ort_value(array: Any, number: int) -> Any:
    from onnxruntime import OrtValue

    if number not in NUMPY_LACKS:
        return OrtValue.ortvalue_from_numpy(array)
    value = OrtValue.ortvalue_from_shape_and_type(list(array.shape), number)
    raw = numpy_helper.from_array(array).raw_data
    assert len(raw) == value.tensor_size_in_bytes()
    ctypes.memmove(value.data_ptr(), raw, len(raw))
    return value


def _from_ort(value: Any, number: int) -> Any:
    if number not in NUMPY_LACKS:
        return value.numpy()
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return numpy_helper.to_array(TensorProto(dims=value.shape(), data_type=number, raw_data=raw))
