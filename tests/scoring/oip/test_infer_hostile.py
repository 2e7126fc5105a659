"""Requests that are wrong, by mistake or on purpose: said what is wrong, at a bounded cost."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import BodyError, InputError
from scoring.oip.infer_request import RequestDecoder, decode_infer
from scoring.signature import Signature, TensorSpec
from tests.scoring.oip.requests import binary_body, json_body, signature_of, tensor, texts

DIGITS = signature_of(x=("float32", ("N", 4)))
X = np.arange(8, dtype=np.float32).reshape(2, 4)
LARGE = 20_000
"""Bytes of blanks that send a request the way of the large ones."""


def one(datatype: str, shape: Any, data: Any) -> bytes:
    return orjson.dumps(
        {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]}
    )


def refused(
    body: bytes, header: int | None = None, signature: Signature = DIGITS, says: str = ""
) -> None:
    with pytest.raises(InputError) as error:
        decode_infer(body, header, signature, "m")
    assert says in str(error.value)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "says"),
    [
        ("FP64", [2, 4], [0] * 8, "input 'x' expects FP32 [N,4], got FP64 [2,4]"),
        ("float32", [2, 4], [0] * 8, "got float32 [2,4]"),
        ("FP32", [2, 5], [0] * 10, "input 'x' expects FP32 [N,4], got FP32 [2,5]"),
        ("FP32", [8], [0] * 8, "got FP32 [8]"),
        ("FP32", [-1, 4], [], "got FP32 [-1,4]"),
        ("FP32", [2**31, 4], [], "got FP32 [2147483648,4]"),
        ("FP32", [2**62, 4], [], "got FP32 [4611686018427387904,4]"),
        ("FP32", [2, 4], [0] * 7, "7 values for [2,4]"),
        ("FP32", [2**30, 4], [0], "1 values for [1073741824,4]"),
        ("FP32", [2, 4], [[0] * 4] * 3, "not nested as [2,4]"),
        ("FP32", [2, 4], [[0] * 2] * 4, "not nested as [2,4]"),
        ("FP32", [2, 4], [[0] * 3, [0] * 5], "not nested as [2,4]"),
        ("FP32", [2, 4], [[0, 0, 0, [0]]] * 2, "not nested as [2,4]"),
        ("FP32", [2, 4], [[0] * 4, [], [0] * 4], "not nested as [2,4]"),
        ("FP32", [1, 4], [0, 0, 0, True], "got true or false"),
        ("FP32", [1, 4], [0, 0, 0, None], "null is no value"),
        ("FP32", [1, 4], [0, 0, 0, "1"], "got text"),
        ("FP32", [1, 4], [0, 0, 0, {}], "got an object"),
        ("FP32", [1, 4], [0, 0, 0, 1e39], "got a value too large for it"),
        ("FP32", [1, 4], "0000", "got text instead of a list"),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_data_that_does_not_fit(
    datatype: str, shape: Any, data: Any, says: str, large: bool
) -> None:
    refused(one(datatype, shape, data) + b" " * (LARGE if large else 0), says=says)


@pytest.mark.parametrize(
    ("dtype", "datatype", "data", "says"),
    [
        ("int8", "INT8", [128], "128, which is out of -128..127"),
        ("uint8", "UINT8", [-1], "-1, which is out of 0..255"),
        ("uint64", "UINT64", [2**64 - 1, 2**64 - 1, -1], "out of 0..18446744073709551615"),
        ("int64", "INT64", [1.5], "the number 1.5"),
        ("int64", "INT64", [1e16], "the number 1e+16"),
        ("int64", "INT64", ["NaN"], "text"),
        ("bool", "BOOL", [1], "the number 1"),
        ("bool", "BOOL", ["true"], "text"),
        ("float16", "FP16", [70000], "too large"),
        ("string", "BYTES", [1], "the number 1"),
        ("bfloat16", "BF16", [1], "sent as binary data only"),
        ("float8_e5m2", "FP8", [1], "has no datatype for it"),
        ("float8_e5m2", "FLOAT8_E5M2", [1], "has no datatype for it"),
        ("complex64", "COMPLEX64", [1], "has no datatype for it"),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_values_that_are_none_of_the_datatype(
    dtype: str, datatype: str, data: list[Any], says: str, large: bool
) -> None:
    body = one(datatype, [len(data)], data) + b" " * (LARGE if large else 0)
    refused(body, signature=signature_of(x=(dtype, ("N",))), says=says)


def test_a_sequence_has_no_datatype() -> None:
    signature = Signature((TensorSpec("x", "float32", ("N",), is_sequence=True),), ())
    refused(one("FP32", [1], [1]), signature=signature, says="a list of float32 [N]")
    refused(b"", 0, signature, says="a list of float32 [N]")


def test_a_huge_integer_is_no_number_of_any_kind() -> None:
    for dtype, datatype in (("float64", "FP64"), ("int64", "INT64")):
        body = one(datatype, [1], [7]).replace(b"[7]", b"[1" + b"0" * 400 + b"]")
        refused(body, signature=signature_of(x=(dtype, ("N",))), says="expects")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[NaN", "no inference request"),
        (b'{"inputs": [NaN]}', "this is no inference request"),
        (b"[]", "this is no inference request"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs": {}}', "this is no inference request"),
        (b'{"inputs": [{"name": "x"}]}', "missing required field"),
        (b'{"inputs": [{"name": 1, "shape": [], "datatype": "FP32"}]}', "Expected `str`"),
        (b'{"inputs": [{"name": "x", "shape": [1.5], "datatype": "FP32"}]}', "Expected `int`"),
        (b'{"inputs": [{"name": "x", "shape": [1,4], "datatype": "FP32"}]}', "neither data nor"),
        (b'{"inputs": []}', "input 'x' (FP32 [N,4]) is missing; this model's inputs: 'x'"),
        (b'{"id": 3, "inputs": []}', "Expected `str | null`"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"inputs": "\xff"}', "inputs"),
        (b"[" * 100_000, "no inference request"),
        (b'{"inputs": [{"name": "x", "data": ' + b"[" * 100_000 + b"]" * 100_000, "JSON"),
        (b'{"a": NaN, "inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "JSON"),
        (b'{"inputs": [], "a": NaN, "b": 1e999}', "not valid JSON"),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_bodies_that_are_no_request(body: bytes, says: str, large: bool) -> None:
    refused(body + b" " * (LARGE if large else 0), says=says)


def test_deep_data_is_refused() -> None:
    deep = b"[" * 900 + b"1" + b"]" * 900
    body = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":' + deep + b"}]}"
    refused(body)


def test_inputs_that_the_model_does_not_have() -> None:
    refused(json_body({"z": X}), says="there is no input 'z'; this model's inputs: 'x'")
    refused(json_body({"x": X, "z": X}), says="2 inputs are given; this model's inputs: 'x'")
    twice = orjson.dumps({"inputs": [tensor("x", X, data=X.tolist())] * 2})
    shape = ("float32", ("N", 4))
    refused(twice, signature=signature_of(x=shape, z=shape), says="input 'x' is given twice")


def test_outputs_that_the_model_does_not_have() -> None:
    says = "unexpected inference output 'q' for model 'm'"
    refused(json_body({"x": X}, outputs=[{"name": "q"}]), says=says)
    refused(json_body({"x": X}, outputs=[{"name": "y"}] * 2), says="'y' is asked for twice")
    negative = [{"name": "y", "parameters": {"classification": -1}}]
    refused(json_body({"x": X}, outputs=negative), says="must be 1 or more")


@pytest.mark.parametrize(
    "parameters",
    [
        *({"priority": value} for value in (-1, 1.0, "1", True, None, 2**63)),
        *({"timeout": value} for value in (-1, 1.5, "1", False)),
        *({"binary_data_output": value} for value in (1, "true", None)),
    ],
)
def test_parameters_of_another_kind(parameters: dict[str, Any]) -> None:
    refused(json_body({"x": X}, parameters=parameters), says="parameter '")


def test_shared_memory_is_not_offered() -> None:
    region = {"shared_memory_region": "r", "shared_memory_byte_size": 32}
    body = orjson.dumps({"inputs": [tensor("x", X, parameters=region)]})
    refused(body, says="input 'x': shared memory is not offered")
    outputs = [{"name": "y", "parameters": region}]
    refused(json_body({"x": X}, outputs=outputs), says="output 'y': shared memory is not offered")


@pytest.mark.parametrize("header", [-1, -(2**63), 10_000, 2**63])
def test_a_json_length_that_is_none(header: int) -> None:
    with pytest.raises(BodyError, match="Inference-Header-Content-Length is"):
        decode_infer(binary_body({"x": X})[0], header, DIGITS)


def test_binary_data_that_does_not_add_up() -> None:
    body, header = binary_body({"x": X})
    refused(body + b"\0", header, says="1 bytes are left after the inputs' binary data")
    refused(body[:-1], header, says="binary_data_size is 32, but 31 bytes are left")
    refused(body, None, says="JSON")
    refused(body[:header], None, says="Inference-Header-Content-Length must say where it starts")
    refused(body, header - 1, says="JSON")
    refused(body, len(body), says="JSON")
    refused(json_body({"x": X}) + b"\0", len(json_body({"x": X})), says="1 bytes are left")


@pytest.mark.parametrize("size", [0, 31, 33, -2, 2**62, 2**80])
def test_a_binary_size_that_lies(size: int) -> None:
    body, header = binary_body({"x": X})
    header_json = orjson.loads(body[:header])
    header_json["inputs"][0]["parameters"]["binary_data_size"] = 0
    text = orjson.dumps(header_json).replace(b'_size":0', b'_size":%d' % size)
    refused(text + body[header:], len(text))


def test_data_twice() -> None:
    text = orjson.dumps(
        {"inputs": [tensor("x", X, data=X.tolist(), parameters={"binary_data_size": 32})]}
    )
    refused(text + X.tobytes(), len(text), says="both data and binary_data_size")


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        (b"", "0 bytes hold no [2] texts"),
        (b"\0" * 7, "7 bytes hold no [2] texts"),
        (b"\xff\xff\xff\xff" + b"\0" * 9, "element 0 is said to have 4294967295 bytes, 9 are left"),
        (b"\5\0\0\0" + b"12345", "binary data ends after 1 of 2 elements"),
        (b"\1\0\0\0" + b"1" + b"\2\0\0\0" + b"1", "element 1 is said to have 2 bytes, 1 are left"),
        (b"\0" * 9, "1 bytes are left after 2 elements"),
        (b"\1\0\0\0\xff\1\0\0\0a", "an element is no UTF-8"),
    ],
)
def test_texts_whose_lengths_lie(chunk: bytes, says: str) -> None:
    body, header = binary_body({"x": texts("a", "b")})
    was = len(body) - header
    text = body[:header].replace(b'_size":%d' % was, b'_size":%d' % len(chunk))
    refused(text + chunk, len(text), signature_of(x=("string", ("N",))), says)


def test_a_boolean_is_zero_or_one() -> None:
    body, header = binary_body({"x": np.array([True, False])})
    refused(body[:-1] + b"\2", header, signature_of(x=("bool", ("N",))), "one byte, 0 or 1")


@pytest.mark.parametrize(
    ("signature", "body", "says"),
    [
        (signature_of(x=("float32", ("N", 4))), b"\0" * 17, "no multiple of 16"),
        (signature_of(x=("float32", (2, 4))), b"\0" * 33, "33 bytes are not FP32 [2,4]"),
        (signature_of(x=("float32", ("N", None, None))), b"\0" * 4, "several sizes"),
        (signature_of(x=("float32", (4, None, None))), b"\0" * 4, "several sizes"),
        (signature_of(x=("float32", ("N", 0))), b"", "no multiple of 0"),
        (signature_of(x=("string", (2,))), b"ab", "a raw request is one element"),
        (signature_of(x=("string", (1,))), b"\xff", "no UTF-8"),
        (signature_of(x=("float32", (1,)), z=("float32", (1,))), b"\0" * 4, "this one has 2"),
        (Signature((TensorSpec("x", "float32", None),), ()), b"\0" * 4, "any shape"),
    ],
)
def test_raw_requests_whose_shape_cannot_be_told(
    signature: Signature, body: bytes, says: str
) -> None:
    refused(body, 0, signature, says)


def test_no_elements_in_a_shape_beyond_memory() -> None:
    spec = Signature((TensorSpec("x", "float32", None),), ())
    huge = [0, 2**31 - 1, 2**31 - 1, 2**31 - 1]
    refused(one("FP32", huge, []), signature=spec, says="too large")
    refused(one("FP32", [1] * 33, [1]), signature=spec, says="more than 32 dimensions")
    refused(one("FP32", [2**30] * 100_000, [1]), signature=spec, says="more than 32 dimensions")
    refused(one("FP32", [2**30] * 32, [1]), signature=spec, says="1 values for")
    header = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [2**30] * 32,
                    "parameters": {"binary_data_size": 0},
                }
            ]
        }
    )
    refused(header, len(header), spec, "0 bytes are not FP32 [10737")


@pytest.mark.slow
def test_a_million_inputs_are_refused_at_once() -> None:
    item = b'{"name":"x","shape":[1],"datatype":"FP32","data":[1]}'
    body = b'{"inputs":[' + b",".join([item] * 1_000_000) + b"]}"
    began = time.thread_time()
    refused(body, says="over 1,048,576 values in JSON")
    assert time.thread_time() - began < 5
    refused(body[:300_000].rpartition(b",{")[0] + b"]}", says="inputs are given")


@pytest.mark.slow
def test_many_texts_are_refused_unread() -> None:
    body = one("BYTES", [600_000], ["a,[b"] * 600_000)
    text = signature_of(x=("string", ("N",)))
    assert decode_infer(body, None, text).inputs["x"].size == 600_000
    refused(one("BYTES", [2**20], [""] * 2**20), signature=text, says="send them as binary data")


@pytest.mark.slow
def test_more_numbers_than_objects_would_be_good_for() -> None:
    array = np.ones((2**19, 3), np.uint8)
    for nested in (False, True):
        body = json_body({"x": array}, nested=nested)
        read = decode_infer(body, None, signature_of(x=("uint8", ("N", 3)))).inputs["x"]
        assert np.array_equal(read, array)


@given(body=st.binary(max_size=200), header=st.none() | st.integers(-1, 300))
def test_any_bytes_are_answered_or_refused(body: bytes, header: int | None) -> None:
    with contextlib.suppress(InputError):
        decode_infer(body, header, DIGITS)


@given(
    place=st.integers(0, 10_000),
    byte=st.binary(min_size=0, max_size=2),
    large=st.booleans(),
    is_binary=st.booleans(),
)
@settings(max_examples=300)
def test_damaged_requests_are_answered_or_refused(
    place: int, byte: bytes, large: bool, is_binary: bool
) -> None:
    """One place of a good request is cut out or overwritten."""
    more: dict[str, Any] = {
        "id": "1",
        "outputs": [{"name": "y", "parameters": {"classification": 2}}],
        "parameters": {"priority": 1, "timeout": 10},
    }
    body, header = binary_body({"x": X}, **more) if is_binary else (json_body({"x": X}, **more), 0)
    place %= len(body)
    body = body[:place] + byte + body[place + 1 :] + b" " * (LARGE if large else 0)
    decoder = RequestDecoder(DIGITS, "m")
    try:
        request = decoder.decode(body, header or None)
    except InputError:
        return
    array = request.inputs["x"]
    assert array.dtype == np.float32
    assert array.shape[1:] == (4,)
