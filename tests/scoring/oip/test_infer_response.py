"""Answers as clients read them. The reader here is written from the specification."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scoring.errors import InputError
from scoring.oip.datatypes import DTYPES
from scoring.oip.infer_request import InferRequest, RequestedOutput
from scoring.oip.infer_response import ResponseEncoder, encode_infer, encode_infer_rows
from scoring.tensors import dtype_of
from tests.scoring.oip.requests import Array, texts

BINARY = InferRequest({}, binary_data_output=True)
JSON = InferRequest({})
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def read(body: bytes, header: int | None) -> dict[str, Array]:
    """Outputs by name, as tritonclient reads them."""
    document = orjson.loads(body[:header])
    assert (document["model_name"], document["model_version"]) == ("m", "1")
    rest = b"" if header is None else body[header:]
    found: dict[str, Array] = {}
    for output in document["outputs"]:
        dtype, shape = dtype_of(DTYPES[output["datatype"]]), output["shape"]
        if "parameters" not in output:
            found[output["name"]] = np.array(output["data"], dtype=dtype).reshape(shape)
            continue
        size = output["parameters"]["binary_data_size"]
        chunk, rest = rest[:size], rest[size:]
        array = texts(*_strings(chunk)) if dtype.kind == "O" else np.frombuffer(chunk, dtype)
        found[output["name"]] = array.reshape(shape)
    assert rest == b""
    return found


def _strings(chunk: bytes) -> list[str]:
    found = []
    while chunk:
        length = int.from_bytes(chunk[:4], "little")
        found.append(chunk[4 : 4 + length].decode())
        chunk = chunk[4 + length :]
    return found


@given(
    array=st.sampled_from(sorted(set(DTYPES.values()) - {"string", "bfloat16"})).flatmap(
        lambda dtype: hnp.arrays(dtype, SHAPES)
    ),
    binary=st.booleans(),
    request_id=st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
)
def test_numbers_arrive_as_they_were(array: Array, binary: bool, request_id: str | None) -> None:
    request = InferRequest({}, request_id, binary_data_output=binary)
    body, header = encode_infer("m", "1", request, {"y": array, "z": array[..., None]})
    assert (header is None) == (not binary)
    found = read(body, header)
    assert list(found) == ["y", "z"]
    np.testing.assert_array_equal(found["y"], array)
    np.testing.assert_array_equal(found["z"], array[..., None])
    assert found["y"].dtype == array.dtype
    assert orjson.loads(body[:header]).get("id") == request_id


@given(
    values=st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=5),
    binary=st.booleans(),
)
def test_texts_arrive_as_they_were(values: list[str], binary: bool) -> None:
    request = InferRequest({}, binary_data_output=binary)
    found = read(*encode_infer("m", "1", request, {"y": texts(*values)}))
    assert found["y"].tolist() == values


def test_bytes_and_fixed_width_text_are_text() -> None:
    outputs = {"a": np.array([b"x", b"\xff"], dtype=object), "b": np.array(["p", "qq"])}
    document = orjson.loads(encode_infer("m", "1", JSON, outputs)[0])
    assert [output["data"] for output in document["outputs"]] == [["x", "\ufffd"], ["p", "qq"]]
    body, header = encode_infer("m", "1", BINARY, {"a": outputs["a"]})
    assert body[header:] == b"\1\0\0\0x\1\0\0\0\xff"


def test_data_is_flat_and_in_the_order_that_triton_has() -> None:
    y = np.array([[1, 2.5], [3, 4]], np.float32)
    body, header = encode_infer("m", "1", InferRequest({}, "42"), {"y": y})
    assert header is None
    assert body == (
        b'{"id":"42","model_name":"m","model_version":"1","outputs":'
        b'[{"name":"y","datatype":"FP32","shape":[2,2],"data":[1.0,2.5,3.0,4.0]}]}'
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_that_json_has_not_are_strings(dtype: str) -> None:
    y = np.array([np.nan, np.inf, -np.inf, 1.5], dtype)
    document = orjson.loads(encode_infer("m", "1", JSON, {"y": y})[0])
    assert document["outputs"][0]["data"] == ["NaN", "Infinity", "-Infinity", 1.5]
    # What tritonclient and kserve do with them:
    read_back = np.array(document["outputs"][0]["data"], dtype=dtype)
    np.testing.assert_array_equal(read_back, y)


def test_bfloat16_is_binary_only() -> None:
    y = np.array([1.5, -2], ml_dtypes.bfloat16)
    assert read(*encode_infer("m", "1", BINARY, {"y": y}))["y"].tolist() == [1.5, -2]
    with pytest.raises(InputError, match="output 'y' is BF16: ask for it as binary data"):
        encode_infer("m", "1", JSON, {"y": y})


def test_only_what_was_asked_for_in_the_form_asked_for() -> None:
    outputs = {name: np.array([value], np.int8) for value, name in enumerate("abcd")}
    asked = (
        RequestedOutput("c", binary_data=False),
        RequestedOutput("a"),
        RequestedOutput("d", binary_data=True),
    )
    body, header = encode_infer("m", "1", InferRequest({}, None, asked, True), outputs)
    document = orjson.loads(body[:header])
    assert [output["name"] for output in document["outputs"]] == ["c", "a", "d"]
    assert ["data" in output for output in document["outputs"]] == [True, False, False]
    assert body[header:] == b"\0\3"
    body, header = encode_infer("m", "1", InferRequest({}, None, asked), outputs)
    assert body[header:] == b"\3"


def test_an_output_that_is_not_there() -> None:
    asked = InferRequest({}, None, (RequestedOutput("q"),))
    with pytest.raises(InputError, match="unexpected inference output 'q' for model 'm'"):
        encode_infer("m", "1", asked, {"y": np.zeros(1)})


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros(1, np.complex64), "'y' is complex64"),
        (np.zeros(1, ml_dtypes.float8_e5m2), "'y' is float8_e5m2"),
        (np.zeros(1, ml_dtypes.int4), "'y' is int4"),
        ([np.zeros(1)], "'y' is a list or a map"),
        ({1: 0.5}, "'y' is a list or a map"),
    ],
)
def test_outputs_without_a_datatype(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        encode_infer("m", "1", JSON, {"y": value})


def test_scalars_are_tensors_without_dimensions() -> None:
    document = orjson.loads(encode_infer("m", "1", JSON, {"y": np.float32(2), "z": 1})[0])
    assert [output["shape"] for output in document["outputs"]] == [[], []]
    assert document["outputs"][0]["data"] == [2.0]


@pytest.mark.parametrize("binary", [False, True])
def test_rows_of_a_batch_are_as_if_alone(binary: bool) -> None:
    request = InferRequest({}, binary_data_output=binary)
    outputs = {
        "y": np.arange(24, dtype=np.float32).reshape(6, 4),
        "t": texts(*"abcdef"),
        # A transposed array: its rows are not next to each other in memory.
        "c": np.asfortranarray(np.arange(12, dtype=np.int64).reshape(6, 2)),
    }
    for start, stop in ((0, 1), (2, 5), (6, 6)):
        alone = {name: np.array(value[start:stop]) for name, value in outputs.items()}
        got = encode_infer_rows("m", "1", request, outputs, start, stop)
        assert got == encode_infer("m", "1", request, alone)


def test_names_are_written_as_json() -> None:
    body, _ = encode_infer('m"', "1", JSON, {'y"\n': np.zeros(1, np.float32)})
    document = orjson.loads(body)
    assert document["model_name"] == 'm"'
    assert document["outputs"][0]["name"] == 'y"\n'


@pytest.mark.parametrize(
    ("array", "count", "expected"),
    [
        (np.array([[1.1, 3.3, 0.5, 2.4]]), 2, [["3.300000:1", "2.400000:3"]]),
        (np.array([1, 3, 0, 2], np.uint8), 2, ["3:1", "2:3"]),
        (np.array([[5, 5, 5]], np.int64), 2, [["5:0", "5:1"]]),
        (np.array([[1, 2], [4, 3]], np.int8), 9, [["2:1", "1:0"], ["4:0", "3:1"]]),
        (np.array([[np.nan, -1.0, np.inf]]), 2, [["inf:2", "-1.000000:1"]]),
        (np.zeros((0, 3)), 2, []),
        (np.zeros((2, 0)), 2, [[], []]),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_classification(array: Array, count: int, expected: list[Any], binary: bool) -> None:
    asked = (RequestedOutput("y", binary, count),)
    found = read(*encode_infer("m", "1", InferRequest({}, None, asked), {"y": array}))
    assert found["y"].tolist() == expected
    assert found["y"].ndim == array.ndim


def test_classes_have_names() -> None:
    encoder = ResponseEncoder("m", "1", {"y": ["cat", "dog"]})
    asked = InferRequest({}, None, (RequestedOutput("y", classification=3),))
    found = read(*encoder.encode(asked, {"y": np.array([1, 3, 2], np.int8)}))
    assert found["y"].tolist() == ["3:1:dog", "2:2", "1:0:cat"]


def test_text_is_not_classified() -> None:
    asked = InferRequest({}, None, (RequestedOutput("y", classification=3),))
    with pytest.raises(InputError, match="'y' cannot be classified"):
        encode_infer("m", "1", asked, {"y": texts("a")})
