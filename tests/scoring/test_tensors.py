"""The JSON codec: exact both ways, and every misfit named."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scoring.errors import BodyError, InputError
from scoring.signature import Dim, Signature, TensorSpec
from scoring.tensors import decode_request, dtype_of, encode_response

FLOATS = ["float16", "float32", "float64"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
EXTENSIONS = [
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
SMALL_INTEGERS = ["int4", "uint4", "int2", "uint2"]
NUMBERS = [*FLOATS, *INTEGERS, *EXTENSIONS, *SMALL_INTEGERS]
DTYPES = [*NUMBERS, "bool", "string"]

ANY_SHAPE = None
Shape = tuple[Dim, ...] | None


def _signature(dtype: str, shape: Shape = ANY_SHAPE, *, is_sequence: bool = False) -> Signature:
    return Signature((TensorSpec("x", dtype, shape, is_sequence),), ())


def _decode(dtype: str, value: str, shape: Shape = ANY_SHAPE, *, is_sequence: bool = False) -> Any:
    body = f'{{"data": {value}}}'.encode()
    return decode_request(body, _signature(dtype, shape, is_sequence=is_sequence))["x"]


def _refusal(dtype: str, value: str, shape: Shape = ANY_SHAPE) -> str:
    with pytest.raises(InputError) as caught:
        _decode(dtype, value, shape)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _sent_and_read(array: Any, dtype: str) -> Any:
    answer = encode_response({"x": array})
    json.loads(answer, parse_constant=_no_constant)
    return decode_request(answer, _signature(dtype, array.shape))["x"]


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_numbers_survive_both_ways(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([*FLOATS, *INTEGERS, "bool"]))
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
    array = data.draw(arrays.arrays(dtype, shape))
    back = _sent_and_read(array, dtype)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", EXTENSIONS)
def test_every_value_of_an_extension_type_survives_both_ways(dtype: str) -> None:
    width = np.uint16 if dtype == "bfloat16" else np.uint8
    array = np.arange(np.iinfo(width).max + 1, dtype=width).view(dtype_of(dtype))
    back = _sent_and_read(array, dtype)
    assert back.dtype == array.dtype
    with np.errstate(invalid="ignore"):
        wide = array.astype(np.float64)
    is_number = ~np.isnan(wide)
    assert np.isnan(back[~is_number].astype(np.float64)).all()
    np.testing.assert_array_equal(back.view(width)[is_number], array.view(width)[is_number])


@pytest.mark.parametrize("dtype", SMALL_INTEGERS)
def test_every_value_of_a_small_integer_survives_both_ways(dtype: str) -> None:
    bits = int(dtype[-1])
    low = 0 if dtype.startswith("u") else -(2 ** (bits - 1))
    array = np.arange(low, low + 2**bits).astype(dtype_of(dtype))
    back = _sent_and_read(array, dtype)
    assert back.dtype == array.dtype
    assert back.astype(int).tolist() == list(range(low, low + 2**bits))
    assert "out of" in _refusal(dtype, f"[{low - 1}]")
    assert "out of" in _refusal(dtype, f"[{low + 2**bits}]")


@given(st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), min_size=1, max_size=4))
@settings(deadline=None)
def test_text_survives_both_ways(texts: list[list[str]]) -> None:
    back = _sent_and_read(np.array(texts, dtype=object), "string")
    assert back.dtype == object
    assert back.tolist() == texts


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_list_takes_its_inner_sizes_from_the_signature(dtype: str) -> None:
    array = _decode(dtype, "[]", ("N", 64))
    assert array.shape == (0, 64)
    assert array.dtype == dtype_of(dtype)
    assert orjson.loads(encode_response({"y": array})) == {"y": []}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_scalar_is_written_without_lists(dtype: str) -> None:
    text = {"bool": "true", "string": '"a"'}.get(dtype, "1")
    array = _decode(dtype, text, ())
    assert array.shape == ()
    assert orjson.loads(encode_response({"y": array})) == {"y": json.loads(text)}


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("true", "true or false"),
        ("[true, 0]", "true or false"),
        ("[1.0, false]", "true or false"),
        ("null", "null is no value"),
        ("[1, null]", 'write "NaN"'),
        ('"one"', "text"),
        ('["a", 1]', "text"),
        ('"1"', "text"),
        ("[[1], [1, 0]]", "different lengths"),
        ("[[1], 1]", "different lengths"),
        ("[{}]", "an object"),
        ("{}", '{"shape": [sizes], "data": [values]}'),
        ("1e400", "infinity"),
        ("NaN", '"NaN"'),
        ("-Infinity", '"-Infinity"'),
    ],
)
def test_what_is_no_number_is_refused(dtype: str, value: str, says: str) -> None:
    assert says in _refusal(dtype, value)


@pytest.mark.parametrize("dtype", [*INTEGERS, *SMALL_INTEGERS])
@pytest.mark.parametrize("value", ["1.5", "[1, 1.5]", '"NaN"', "1e-3", "[1.0, 0.5]"])
def test_integers_take_no_fractions(dtype: str, value: str) -> None:
    assert f"expects {dtype}" in _refusal(dtype, value)


@pytest.mark.parametrize("dtype", [*INTEGERS, *SMALL_INTEGERS])
@pytest.mark.parametrize("value", ["[1.0, 0]", "[1.0, -0.0]", "[10e-1, 0e5]"])
def test_one_point_zero_is_an_integer(dtype: str, value: str) -> None:
    array = _decode(dtype, value)
    assert array.dtype == dtype_of(dtype)
    assert array.astype(int).tolist() == [1, 0]


def test_an_integer_written_as_a_float_must_be_exact() -> None:
    assert _decode("int64", "9007199254740991.0") == 2**53 - 1
    assert "expects int64" in _refusal("int64", "9007199254740993.0")
    assert "expects int64" in _refusal("int64", "1e18")
    assert "out of 0..255" in _refusal("uint8", "[256.0]")


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_limits_of_integers_are_exact(dtype: str) -> None:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    assert _decode(dtype, f"[{low}, {high}, 0, 1]").tolist() == [low, high, 0, 1]
    for beyond in (low - 1, high + 1, 2**64, -(2**63) - 1):
        assert f"expects {dtype}" in _refusal(dtype, f"[{beyond}, 0]")


def test_300_is_no_uint8() -> None:
    assert _refusal("uint8", "[300]") == (
        "input 'x' expects uint8 of any shape, got a value out of 0..255"
    )


@pytest.mark.parametrize(
    ("dtype", "largest", "beyond"),
    [
        ("float16", 65504.0, 65520),
        ("float32", 3.4028234663852886e38, 1e39),
        ("bfloat16", 3.3895313892515355e38, 3.4e38),
        ("float8_e4m3fn", 448.0, 480),
        ("float8_e5m2", 57344.0, 65536),
    ],
)
def test_the_limits_of_floats_are_exact(dtype: str, largest: float, beyond: float) -> None:
    assert float(_decode(dtype, repr(largest))) == largest
    assert "too large" in _refusal(dtype, repr(beyond))


@pytest.mark.parametrize("dtype", FLOATS)
def test_non_finite_floats_are_spelled_as_text(dtype: str) -> None:
    array = _decode(dtype, '["NaN", "Infinity", "-Infinity", 1]')
    np.testing.assert_array_equal(array, np.array([np.nan, np.inf, -np.inf, 1], dtype))
    assert encode_response({"y": array}) == b'{"y":["NaN","Infinity","-Infinity",1.0]}'
    assert encode_response({"y": array[0]}) == b'{"y":"NaN"}'


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e8m0fnu"])
def test_infinity_is_refused_where_the_type_has_none(dtype: str) -> None:
    assert math.isnan(float(_decode(dtype, '"NaN"')))
    assert "expects float8" in _refusal(dtype, '["Infinity"]')


def test_negative_zero_stays() -> None:
    assert math.copysign(1, float(_decode("float32", "-0.0"))) == -1
    assert encode_response({"y": np.float32(-0.0)}) == b'{"y":-0.0}'


@pytest.mark.parametrize("value", ["1", "[0, 1]", '"true"', "[true, 2]", "null", "[true, null]"])
def test_booleans_are_true_or_false_only(value: str) -> None:
    assert "true or false" in _refusal("bool", value)


def test_text_is_no_number_and_no_boolean() -> None:
    for value in ("1", "[1]", "true", "null", '["a", 1]', '[["a"], "b"]'):
        assert "expects string" in _refusal("string", value)


def test_a_wrong_shape_is_named_with_the_expected_one() -> None:
    values = json.dumps([[0.5] * 63])
    assert _refusal("float32", values, ("N", 64)) == (
        "input 'x' expects float32 [N,64], got shape [1,63]"
    )


def test_the_shape_can_be_given_beside_flat_values() -> None:
    array = _decode("int64", '{"shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}')
    assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert _decode("float32", '{"shape": [0, 3], "data": []}', ("N", 3)).shape == (0, 3)
    assert _decode("bool", '{"data": [true, false], "shape": [2]}').tolist() == [True, False]
    assert _decode("string", '{"data": ["a", "b"], "shape": [1, 2]}').tolist() == [["a", "b"]]


@pytest.mark.parametrize(
    "value",
    [
        '{"shape": [2], "data": [1]}',
        '{"shape": [-1], "data": [1]}',
        '{"shape": [true], "data": [1]}',
        '{"shape": [1.0], "data": [1]}',
        '{"shape": 1, "data": [1]}',
        '{"shape": null, "data": [1]}',
        '{"shape": [1], "data": {"shape": [1], "data": [1]}}',
        '{"shape": [1]}',
        '{"shape": [1], "data": [1], "more": 1}',
        '{"shape": [0, 2147483647, 2147483647, 2147483647], "data": []}',
        '{"shape": [0, 99999999999999999999], "data": []}',
        json.dumps({"shape": [1] * 70, "data": [1]}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "string"])
def test_a_shape_that_cannot_be_is_refused(dtype: str, value: str) -> None:
    assert "input 'x'" in _refusal(dtype, value)


def test_a_sequence_is_a_list_of_values() -> None:
    items = _decode("int64", '[[1, 2], [], {"shape": [1, 1], "data": [3]}]', is_sequence=True)
    assert [item.tolist() for item in items] == [[1, 2], [], [[3]]]
    assert orjson.loads(encode_response({"y": items})) == {"y": [[1, 2], [], [[3]]]}
    with pytest.raises(InputError, match="expects a list of int64"):
        _decode("int64", "1", is_sequence=True)


TWO = Signature(
    (TensorSpec("a", "float32", ("N",)), TensorSpec("b", "bool", ())),
    (),
    (TensorSpec("k", "int64", ()),),
)


def test_inputs_come_by_name_and_optional_ones_may_lack() -> None:
    read = decode_request(b'{"b": true, "a": [1]}', TWO)
    assert list(read) == ["a", "b"]
    assert list(decode_request(b'{"b": true, "a": [1], "k": 3}', TWO)) == ["a", "b", "k"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{}", "input 'a' (float32 [N]) is missing; this model's inputs: 'a', 'b', 'k'"),
        (b'{"a": [1]}', "input 'b' (bool []) is missing; this model's inputs: 'a', 'b', 'k'"),
        (b'{"a": [1], "c": 1}', "there is no input 'c'; this model's inputs: 'a', 'b', 'k'"),
        (b'{"data": [1]}', "there is no input 'data'; this model's inputs: 'a', 'b', 'k'"),
    ],
)
def test_missing_and_unknown_inputs_are_named(body: bytes, says: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_request(body, TWO)
    assert str(caught.value) == says


def test_an_unknown_name_is_not_echoed_at_length() -> None:
    with pytest.raises(InputError) as caught:
        decode_request(b'{"%s": 1}' % (b"x" * 100_000), TWO)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is empty"),
        (b"[1]", "no JSON object"),
        (b"1", "no JSON object"),
        (b"null", "no JSON object"),
        (b'"a"', "no JSON object"),
        (b" ", "not valid JSON"),
        (b'{"data": [1', "not valid JSON"),
        (b'{"data": 1}}', "not valid JSON"),
        (b'{"data": NaN}', 'write NaN and infinities as strings: "NaN"'),
        (b'{"data": [Infinity]}', '"Infinity"'),
        (b'{"data": "\xff"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"data": 1}', "not valid JSON"),
        (b'{"data": "\\ud800"}', "not valid JSON"),
        (b"\x00", "not valid JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not valid JSON"),
        (b'{"data": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not valid JSON"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(BodyError) as caught:
        decode_request(body, _signature("float32"))
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "string"])
@pytest.mark.parametrize("levels", [33, 64, 65, 900, 1000, 1020])
@pytest.mark.parametrize("inner", ["", "1", "true", '"a"', "null", "{}"])
def test_nesting_beyond_any_tensor_is_refused(dtype: str, levels: int, inner: str) -> None:
    deep = "[" * levels + inner + "]" * levels
    assert "more than 32 nested dimensions" in _refusal(dtype, deep)
    _refusal(dtype, f'[1, true, "a", {deep}]')
    _refusal(dtype, '{"a": ' * levels + "1" + "}" * levels)


def test_one_long_text_among_short_ones_costs_no_room() -> None:
    """numpy's text arrays give each item the room of the longest: here 40 GB."""
    body = '["' + "x" * 100_000 + '"' + ',"a"' * 100_000 + "]"
    tracemalloc.start()
    try:
        assert "text" in _refusal("float32", body)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


def test_maps_and_text_are_written_as_json() -> None:
    """What skl2onnx's ZipMap gives: a dict by label for each row."""
    outputs = {
        "label": np.array(["b"], dtype=object),
        "probability": [{0: np.float32(0.5), 1: float("nan")}],
        "by name": [{"a": 1.0, "b": float("-inf")}],
        "raw": np.array([b"caf\xc3\xa9", b"\xff"]),
        "absent": None,
        "nested": [np.array([1.5], np.float32), [np.int64(2)]],
    }
    assert orjson.loads(encode_response(outputs)) == {
        "label": ["b"],
        "probability": [{"0": 0.5, "1": "NaN"}],
        "by name": [{"a": 1.0, "b": "-Infinity"}],
        "raw": ["café", "�"],
        "absent": None,
        "nested": [[1.5], [2]],
    }


def test_memory_order_does_not_matter() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert encode_response({"y": array.T}) == b'{"y":[[0,3],[1,4],[2,5]]}'
    assert (
        encode_response({"y": array[:, ::2].astype(np.float32)}) == b'{"y":[[0.0,2.0],[3.0,5.0]]}'
    )


def test_complex_numbers_go_out_as_pairs_and_do_not_come_in() -> None:
    assert encode_response({"y": np.array([1 + 2j])}) == b'{"y":[[1.0,2.0]]}'
    assert "which JSON cannot carry" in _refusal("complex64", "[1]")


_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "1", "", "é"]),
    st.text(max_size=3),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.fixed_dictionaries({"shape": st.lists(st.integers(-1, 3), max_size=3), "data": inner}),
        st.dictionaries(st.sampled_from(["x", "data", "shape"]), inner, max_size=2),
    ),
    max_leaves=8,
)
_DOCUMENTS = st.one_of(_VALUES, st.dictionaries(st.sampled_from(["x", "k", "data"]), _VALUES))
_SHAPES = st.one_of(
    st.none(), st.lists(st.sampled_from(["N", None, 0, 1, 2]), max_size=3).map(tuple)
)
_SPECS = st.builds(
    TensorSpec, st.sampled_from(["x", "data"]), st.sampled_from(DTYPES), _SHAPES, st.booleans()
)
_SIGNATURES = st.builds(
    lambda spec, extra: Signature((spec,), (), extra),
    _SPECS,
    st.sampled_from([(), (TensorSpec("k", "int64", (2,)),)]),
)


def _check_read(body: bytes, signature: Signature) -> None:
    try:
        read = decode_request(body, signature)
    except InputError:
        return
    assert {spec.name for spec in signature.inputs} <= set(read)
    for name, value in read.items():
        spec = signature.input(name)
        assert spec is not None
        for array in value if spec.is_sequence else [value]:
            assert array.dtype == dtype_of(spec.dtype)
            if spec.shape is not None:
                assert array.ndim == len(spec.shape)
                for expected, size in zip(spec.shape, array.shape, strict=True):
                    assert not isinstance(expected, int) or expected == size


@given(_DOCUMENTS, _SIGNATURES)
@settings(deadline=None, max_examples=400)
def test_any_json_is_refused_or_gives_arrays_that_fit(document: Any, signature: Signature) -> None:
    _check_read(json.dumps(document).encode(), signature)


@given(st.binary(max_size=60), _SIGNATURES)
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_refused_or_give_arrays_that_fit(body: bytes, signature: Signature) -> None:
    _check_read(body, signature)
    _check_read(b'{"data":' + body + b"}", signature)
