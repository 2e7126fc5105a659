"""Requests as clients send them become the model's tensors."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scoring.oip.datatypes import DTYPES
from scoring.oip.infer_request import InferRequest, RequestDecoder, RequestedOutput, decode_infer
from scoring.oip.large_json import LargeReader
from scoring.signature import Signature, TensorSpec
from scoring.tensors import dtype_of
from tests.scoring.oip.requests import (
    Array,
    binary_body,
    json_body,
    signature_of,
    tensor,
    texts,
)

DIGITS = signature_of(x=("float32", ("N", 4)))
X = np.arange(8, dtype=np.float32).reshape(2, 4)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def arrays(datatype: str) -> st.SearchStrategy[Array]:
    dtype = dtype_of(DTYPES[datatype])
    if datatype == "BYTES":
        text = st.text(st.characters(codec="utf-8"), max_size=5)
        return SHAPES.flatmap(
            lambda shape: st.lists(
                text, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))
            ).map(lambda values: texts(*values).reshape(shape))
        )
    if datatype == "BF16":
        wide = hnp.arrays(np.float32, SHAPES, elements=st.floats(width=16))
        return wide.map(lambda array: array.astype(dtype))
    return hnp.arrays(dtype, SHAPES)


def same(one: Any, other: Any) -> None:
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    if one.dtype.name == "bfloat16":  # of which numpy does not know that nan is nan
        one, other = one.astype(np.float32), other.astype(np.float32)
    np.testing.assert_array_equal(one, other)


def model_of(**inputs: Array) -> Signature:
    """A model that takes exactly what these arrays are."""
    named = {name: (array.dtype.name, array.shape) for name, array in inputs.items()}
    specs = (
        TensorSpec(name, "string" if dtype == "object" else dtype, shape)
        for name, (dtype, shape) in named.items()
    )
    return Signature(tuple(specs), ())


@given(data=st.data(), datatype=st.sampled_from(sorted(DTYPES)), pad=st.integers(0, 7))
@settings(max_examples=60)
def test_binary_tensors_arrive_as_they_were(data: st.DataObject, datatype: str, pad: int) -> None:
    one, two = data.draw(arrays(datatype)), data.draw(arrays("INT32"))
    body, header = binary_body({"a": one, "b": two}, parameters={"pad": "p" * pad})
    request = decode_infer(body, header, model_of(a=one, b=two))
    same(request.inputs["a"], one)
    same(request.inputs["b"], two)
    assert request.inputs["a"].flags.aligned


@given(
    data=st.data(),
    datatype=st.sampled_from(sorted(set(DTYPES) - {"BF16"})),
    nested=st.booleans(),
    indent=st.booleans(),
)
@settings(max_examples=60)
def test_json_tensors_arrive_as_they_were(
    data: st.DataObject, datatype: str, nested: bool, indent: bool
) -> None:
    array = data.draw(arrays(datatype))
    values = array.tolist() if nested else array.reshape(-1).tolist()
    # As tritonclient and Triton have it: NaN and infinities stand bare.
    text = json.dumps({"inputs": [tensor("a", array, data=values)]}, indent=indent or None)
    same(decode_infer(text.encode(), None, model_of(a=array)).inputs["a"], array)


@given(
    array=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.float16, np.int8, np.uint64, np.int64]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9),
    ),
    nested=st.booleans(),
    indent=st.booleans(),
    data_first=st.booleans(),
    piece_bytes=st.integers(1, 50),
)
@settings(max_examples=30)
def test_large_requests_are_read_the_same_in_pieces(
    array: Array, nested: bool, indent: bool, data_first: bool, piece_bytes: int
) -> None:
    """``data`` may also be the name of an input, a key elsewhere, or before the other keys."""
    signature = model_of(data=array, b=array)
    values = array.tolist() if nested else array.reshape(-1).tolist()
    inputs = [tensor(name, array, data=values) for name in ("b", "data")]
    if data_first:
        inputs = [dict(reversed(item.items())) for item in inputs]
    option = orjson.OPT_INDENT_2 if indent else 0
    body = orjson.dumps({"inputs": inputs, "outputs": [], "parameters": {"q": 1}}, option=option)
    reader = LargeReader(RequestDecoder(signature)._expected, piece_bytes=piece_bytes)
    read = reader.read(body)
    if read is not None:
        same(read.inputs["b"], array)
        same(read.inputs["data"], array)
        assert read.head.parameters == {"q": 1}
    plain = body.replace(b'"name":"data"', b'"name":"d"').replace(b'"name": "data"', b'"name":"d"')
    read = LargeReader(RequestDecoder(model_of(d=array, b=array))._expected).read(plain)
    if np.isfinite(array).all():
        assert read is not None
        same(read.inputs["d"], array)
        same(decode_infer(body, None, signature).inputs["data"], array)
    else:
        assert read is None  # orjson wrote null


def test_a_large_request_is_its_small_parts() -> None:
    array = np.linspace(-1e9, 1e9, 5000, dtype=np.float32).reshape(50, 100)
    decoder = RequestDecoder(signature_of(x=("float32", ("N", 100))))
    for nested in (False, True):
        body = json_body({"x": array}, nested=nested, parameters={"priority": 3, "timeout": 9})
        request = decoder.decode(body)
        same(request.inputs["x"], array)
        assert (request.priority, request.timeout_us) == (3, 9)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_numbers_with_names_among_many(dtype: str, large: bool) -> None:
    array = np.ones((3000 if large else 3,), dtype=dtype)
    array[:3] = [np.nan, np.inf, -np.inf]
    decoder = RequestDecoder(signature_of(x=(dtype, ("N",))))
    document = {"inputs": [tensor("x", array, data=array.tolist())]}
    same(decoder.decode(json.dumps(document).encode()).inputs["x"], array)
    document["inputs"][0]["data"][:3] = ["NaN", "Infinity", "-Infinity"]
    same(decoder.decode(json.dumps(document).encode()).inputs["x"], array)


def test_whole_fractions_are_integers() -> None:
    body = b'{"inputs":[{"name":"x","shape":[2],"datatype":"INT8","data":[1.0,-2e0]}]}'
    request = decode_infer(body, None, signature_of(x=("int8", ("N",))))
    same(request.inputs["x"], np.array([1, -2], np.int8))


def test_everything_around_the_tensors() -> None:
    body, header = binary_body(
        {"x": X},
        id="42",
        model_name="ignored",
        outputs=[
            {"name": "y", "parameters": {"binary_data": False, "classification": 3}},
            {"name": "z"},
        ],
        parameters={
            **{"binary_data_output": True, "priority": 2, "timeout": 1500, "mine": "kept"},
            **{"sequence_id": 9, "sequence_start": True, "sequence_end": False},
        },
    )
    request = decode_infer(body, header, signature_of(outputs=("y", "z"), x=("float32", ("N", 4))))
    same(request.inputs["x"], X)
    assert request == InferRequest(
        request.inputs,
        "42",
        (RequestedOutput("y", False, 3), RequestedOutput("z")),
        True,
        2,
        1500,
        {"mine": "kept"},
    )


def test_what_is_not_said_is_the_default() -> None:
    request = decode_infer(json_body({"x": X}), None, DIGITS)
    assert request == InferRequest(request.inputs)
    assert request.timeout_us is None
    timeout_0 = decode_infer(json_body({"x": X}, parameters={"timeout": 0}), None, DIGITS)
    assert timeout_0.timeout_us is None


def test_null_is_not_given() -> None:
    """KServe's client and server write null for what is not there."""
    body = orjson.dumps(
        {
            "id": None,
            "parameters": None,
            "outputs": None,
            "inputs": [tensor("x", X, data=X.tolist(), parameters=None)],
        }
    )
    assert decode_infer(body, None, DIGITS).id is None


def test_inputs_come_in_any_order_and_some_may_stay_away() -> None:
    spec = {name: TensorSpec(name, "int32", ("N",)) for name in "abc"}
    signature = Signature((spec["a"], spec["b"]), (), (spec["c"],))
    one = np.array([1], np.int32)
    assert set(decode_infer(json_body({"b": one, "a": one}), None, signature).inputs) == {"a", "b"}
    body, header = binary_body({"c": one, "a": one, "b": one + 1})
    assert decode_infer(body, header, signature).inputs["b"][0] == 2


def test_binary_and_json_inputs_go_together() -> None:
    header = orjson.dumps(
        {
            "inputs": [
                tensor("a", X, parameters={"binary_data_size": 32}),
                tensor("b", X, data=X.tolist()),
                tensor("c", X, parameters={"binary_data_size": 32}),
            ]
        }
    )
    body = header + X.tobytes() + (X + 1).tobytes()
    shape = ("float32", ("N", 4))
    request = decode_infer(body, len(header), signature_of(a=shape, b=shape, c=shape))
    same(request.inputs["b"], X)
    same(request.inputs["c"], X + 1)


@pytest.mark.parametrize(
    ("dtype", "shape", "body", "expected"),
    [
        ("float32", ("N", 4), X.tobytes(), X),
        ("float32", (2, 4), X.tobytes(), X),
        ("float32", ("N", 2, None), X.tobytes(), X.reshape(1, 2, 4)),
        ("float32", (), X[0, 1].tobytes(), X[0, 1].reshape(())),
        ("uint8", (None,), b"\x01\x02", np.array([1, 2], np.uint8)),
        ("uint8", (None,), b"", np.array([], np.uint8)),
        ("bfloat16", ("N",), b"\x80\x3f", np.array([1], ml_dtypes.bfloat16)),
        ("string", ("N",), "grüße".encode(), texts("grüße")),
        ("string", (1, None), b"", texts("", shape=(1, 1))),
    ],
)
def test_a_raw_request_is_the_only_input(
    dtype: str, shape: tuple[Any, ...], body: bytes, expected: Array
) -> None:
    request = decode_infer(body, 0, signature_of(x=(dtype, shape)))
    same(request.inputs["x"], expected)
    assert request.binary_data_output
