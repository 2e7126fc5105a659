"""Whatever way a body is read, the arrays and the refusals are those of the exact path."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scoring.errors import InputError
from scoring.json_codec import numbers as json_numbers
from scoring.json_codec.exact import decode_exactly
from scoring.json_codec.large import decode_large
from scoring.signature import Signature, TensorSpec
from scoring.tensors import Decoder

ALWAYS, NEVER = 0, 2**40
USUAL = ["0", "1", "-7", "1.5", "2", "0.25", "-0.0", "1e-3"]
ODD = [
    *("-0", "1.0", "300", "1e39", "1e400", "-1e400", "1e-400", "65519", "65520", "01", "1.", "+1"),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775809", "9" * 40),
    *("9007199254740993", "9007199254740993.0", "3.4028235677973366e38", "16777217"),
    *('"NaN"', '"Infinity"', '"-Infinity"', "true", "false", "null", "NaN", "Infinity"),
    *('"a"', '"a,b"', '"["', '"]"', '"[,]"', '"a:b"', '"\\""', '"\\u00e9"', '"\\ud800"', '"1"'),
    *("[]", "[1]", "{}", '{"a":1}', "", " ", "\\", '"', "//", "1 1", "\ufeff", "\x00", "0x1"),
]
DTYPES = [
    *("float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "int8", "int32", "int64"),
    *("uint8", "uint64", "int4", "bool", "string"),
]
_tokens = st.one_of(*([st.sampled_from(USUAL)] * 6), st.sampled_from(ODD))
K_LIST, K_BOOL = TensorSpec("k", "int64", ("N",)), TensorSpec("k", "bool", ())
_blanks = st.sampled_from(["", "", "", " ", "\n\t "])


@st.composite
def _lists(draw: st.DrawFn, sizes: tuple[int, ...], token: st.SearchStrategy[str]) -> str:
    """Lists of this shape, now and then one too long or too short."""
    if not sizes:
        return draw(token)
    size = max(0, sizes[0] + draw(st.sampled_from([0] * 30 + [1, -1])))
    items = [draw(_lists(sizes[1:], token)) for _ in range(size)]
    blank = draw(_blanks)
    return f"[{blank}" + f"{blank},".join(items) + f"{blank}]"


@st.composite
def _values(draw: st.DrawFn, spec: TensorSpec) -> str:
    shape = spec.shape if spec.shape is not None and draw(st.integers(0, 4)) else None
    if shape is None:
        sizes = draw(st.lists(st.integers(0, 4), max_size=3))
    else:
        sizes = [dim if isinstance(dim, int) else draw(st.integers(0, 4)) for dim in shape]
    usual = {"bool": ["true", "false"], "string": ['"a"', '"b"']}.get(spec.dtype, USUAL)
    if "int" in spec.dtype:
        usual = [token for token in usual if token.isdigit()]
    token = st.sampled_from(usual) if draw(st.integers(0, 2)) else _tokens
    if draw(st.integers(0, 5)):
        return draw(_lists(tuple(sizes), token))
    text = draw(_lists((int(np.prod(sizes)),), token))
    members = draw(st.permutations([f'"shape": {json.dumps(sizes)}', f'"data":{text}']))
    return "{" + " ,".join(members) + draw(_blanks) + "}"


@st.composite
def _cases(draw: st.DrawFn) -> tuple[bytes, Signature]:
    """A signature and a body that is mostly for it."""
    shape = draw(st.one_of(st.none(), st.lists(st.sampled_from(["N", None, 1, 2, 3]), max_size=3)))
    spec = TensorSpec(
        draw(st.sampled_from(["x", "in:0", "é"])),
        draw(st.sampled_from(DTYPES)),
        None if shape is None else tuple(shape),
    )
    others = draw(st.sampled_from([(), (), (K_LIST,), (K_BOOL,)]))
    members = [(draw(st.sampled_from([spec.name, spec.name, "data"])), spec)]
    if draw(st.booleans()):
        members += [(other.name, other) for other in others]
    if not draw(st.integers(0, 9)):
        members.append((draw(st.sampled_from(["k", "data", "x"])), spec))
    blank = draw(_blanks)
    texts = [f'"{name}"{blank}:{blank}{draw(_values(spec))}' for name, spec in members]
    body = "{" + ", ".join(draw(st.permutations(texts))) + "}"
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.sampled_from([*'[]{},:" 1e.t\\', ""])) + body[at + 1 :]
    return body.encode("utf-8", "surrogatepass"), Signature((spec,), (), others)


def _outcome(read: Callable[[], dict[str, Any]]) -> Any:
    try:
        return _summary(read())
    except InputError as error:
        return type(error), str(error)


def _summary(arrays: dict[str, Any]) -> Any:
    return {
        name: (array.dtype, array.shape, array.tolist() if array.dtype == object else _bits(array))
        for name, array in arrays.items()
    }


def _bits(array: Any) -> bytes:
    return bytes(array.tobytes())


@pytest.fixture(params=[True, False], ids=["simdjson", "orjson only"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        pytest.importorskip("simdjson")
    monkeypatch.setattr(json_numbers, "HAS_SIMDJSON", request.param)


def _one(dtype: str, *shape: str | int) -> Signature:
    return Signature((TensorSpec("x", dtype, shape),), ())


@pytest.mark.slow
@pytest.mark.parametrize("large_bytes", [ALWAYS, NEVER])
@pytest.mark.usefixtures("_parser")
@given(_cases())
@example((b'{"x":[3.4028235677973366e38]}', _one("float32", "N")))
@example((b'{"x":[9007199791611905,1.5]}', _one("float32", "N")))
@example((b'{"x":[9007199791611905]}', _one("float32", "N")))
@example((b'{"x":[[],[1]]}', _one("float32", "N", "M")))
@example((b'{"x":[[1],[]]}', _one("float32", "N", "M")))
@example((b'{"x":[[],[]]}', _one("float32", "N", "M")))
@example((b'{"x":[1],"x":[2]}', _one("float32", "N")))
@example((b'{"x":[1,]}', _one("float32", "N")))
@example((b"[]", Signature((), ())))
@settings(deadline=None, max_examples=250)
def test_every_way_of_reading_gives_what_the_exact_one_gives(
    large_bytes: int, case: tuple[bytes, Signature]
) -> None:
    body, signature = case
    decoder = Decoder(signature, large_bytes=large_bytes)
    exact = _outcome(lambda: decode_exactly(body, signature))
    assert _outcome(lambda: decoder.decode(body)) == exact


@pytest.mark.slow
@pytest.mark.usefixtures("_parser")
@given(_cases(), st.integers(0, 40))
@example((b'{"x":[1,]}', _one("float32", "N")), 1)
@example((b'{"x":[1,,2]}', _one("float32", "N")), 1)
@example((b'{"x":[[1,2],[3,4]]}', _one("uint8", "N", 2)), 1)
@settings(deadline=None, max_examples=400)
def test_pieces_of_any_size_give_what_the_exact_way_gives(
    case: tuple[bytes, Signature], piece_bytes: int
) -> None:
    body, signature = case
    exact = _outcome(lambda: decode_exactly(body, signature))
    read = decode_large(body, signature, piece_bytes=piece_bytes)
    if isinstance(read, dict):
        assert _summary(read) == exact
    elif isinstance(read, InputError):
        assert isinstance(exact, tuple)


@pytest.mark.parametrize(
    ("dtype", "leaf"),
    [
        ("float32", "0.5"),
        ("float32", "3"),
        ("float64", "-1e-3"),
        ("int64", "9"),
        ("uint8", "255"),
        ("int32", "2.0"),
        ("float32", '"NaN"'),
        ("bool", "true"),
        ("bfloat16", "1.5"),
    ],
)
@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("wrap", ['{"data":%s}', '{"x" : %s }', '{"k":2,"x":%s,"in:0":["a"]}'])
def test_even_lists_are_read_without_the_exact_way(dtype: str, leaf: str, wrap: str) -> None:
    """Or long ones would be refused for the number of their values."""
    others = (TensorSpec("k", "int64", ()), TensorSpec("in:0", "string", ("N",)))
    signature = Signature((TensorSpec("x", dtype, ("N", 2, 3)),), (), others)
    value = "[" + ", ".join(["[[%s,%s,%s],[%s,%s,%s]]" % ((leaf,) * 6)] * 5) + "]"
    body = (wrap % value).encode()
    for piece_bytes in (1, 50, 1000):
        read = decode_large(body, signature, piece_bytes=piece_bytes)
        assert isinstance(read, dict)
        assert _summary(read)["x"] == _outcome(lambda: decode_exactly(body, signature))["x"]
    flat = (wrap % f'{{"data":[{",".join([leaf] * 6)}],"shape":[1,2,3]}}').encode()
    assert isinstance(decode_large(flat, signature), dict)


def test_threads_read_side_by_side() -> None:
    arrays = [np.random.default_rng(seed).random((8, 3, 400)) for seed in range(4)]
    bodies = [json.dumps({"data": array.tolist()}).encode() for array in arrays]
    decoder = Decoder(Signature((TensorSpec("x", "float64", ("N", 3, 400)),), ()))
    with ThreadPoolExecutor(4) as pool:
        for read, array in zip(pool.map(decoder.decode, bodies * 5), arrays * 5, strict=True):
            np.testing.assert_array_equal(read["x"], array)
