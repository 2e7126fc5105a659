"""The OpenAPI documents say of a body what the codec does with it."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.errors import InputError
from scoring.model_swagger import ERRORS, documents
from scoring.signature import Dim, Signature, TensorSpec
from scoring.tensors import decode_request, encode_response

FLOATS = ["float16", "float32", "float64", "bfloat16"]
FLOAT8 = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (2, 4, 8, 16, 32, 64)]
DTYPES = [*FLOATS, *FLOAT8, *INTEGERS, "bool", "string"]
VALIDATORS = {
    "2.0": jsonschema.Draft4Validator,
    "3.0": jsonschema.Draft4Validator,
    "3.1": jsonschema.Draft202012Validator,
}
PLACES = {
    "2.0": ("definitions",),
    "3.0": ("components", "schemas"),
    "3.1": ("components", "schemas"),
}


def _one(dtype: str, *shape: Dim, name: str = "x") -> Signature:
    return Signature((TensorSpec(name, dtype, shape),), (TensorSpec("y", dtype, shape),))


def _schemas(signature: Signature, version: str) -> dict[str, Any]:
    found: Any = documents(signature, name="digits", version=3)[version]
    for key in PLACES[version]:
        found = found[key]
    return dict(found)


def _says(signature: Signature, version: str, body: Any, part: str = "ServiceInput") -> bool:
    schema = _schemas(signature, version)[part]
    VALIDATORS[version].check_schema(schema)
    return bool(VALIDATORS[version](schema).is_valid(body))


def _takes(signature: Signature, body: Any) -> bool:
    try:
        decode_request(json.dumps(body).encode(), signature)
    except InputError:
        return False
    return True


def test_each_alias_names_a_document_of_its_version() -> None:
    found = documents(_one("float32", "N", 4), name="digits", version=3)
    versions = {alias: found[alias].get("openapi", found[alias].get("swagger")) for alias in found}
    assert versions == {"2": "2.0", "2.0": "2.0", "3": "3.0.3", "3.0": "3.0.3", "3.1": "3.1.0"}
    assert all(json.loads(json.dumps(document)) == document for document in found.values())


@pytest.mark.parametrize("version", list(VALIDATORS))
def test_every_route_and_every_error_is_described(version: str) -> None:
    document = documents(_one("float32", "N", 4), name="digits", version=3)[version]
    gets = {path for path, route in document["paths"].items() if "get" in route}
    assert gets == {"/", "/healthz", "/readyz", "/metrics", "/swagger.json"}
    assert set(document["paths"]["/score"]) == {"post"}
    assert set(document["paths"]["/score"]["post"]["responses"]) == {"200", *ERRORS}
    operations = [r["operationId"] for path in document["paths"].values() for r in path.values()]
    assert len(set(operations)) == len(operations)


@pytest.mark.parametrize("version", list(VALIDATORS))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_example_is_taken(dtype: str, version: str) -> None:
    signature = _one(dtype, "N", 3)
    example = _schemas(signature, version)["ServiceInput"]["example"]
    assert decode_request(json.dumps(example).encode(), signature)["x"].shape == (1, 3)
    assert _says(signature, version, example)


def test_a_long_example_is_left_out() -> None:
    assert "example" not in _schemas(_one("float32", "N", 3, 48, 192), "3.1")["ServiceInput"]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_the_document_takes_exactly_the_values_that_the_codec_takes(
    dtype: str, data: st.DataObject
) -> None:
    edges = _schemas(_one(dtype), "3.1")["ServiceInput"]["anyOf"][0]["properties"]["data"]
    limits = _limits(edges)
    numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False), _near(limits))
    value = data.draw(
        st.one_of(
            numbers.filter(lambda n: not _is_vast_float(n) and math.isfinite(n)),
            st.sampled_from([1.0, -1.0, 0.0, 3.0, 255.0, 256.0]),
            st.none(),
            st.booleans(),
            st.text(max_size=3),
            st.sampled_from(["NaN", "Infinity", "-Infinity"]),
            st.lists(st.just(1), max_size=2),
            st.just({}),
        )
    )
    signature = _one(dtype)
    assert _says(signature, "3.1", {"x": value}) == _takes(signature, {"x": value})
    assert _says(signature, "3.1", {"data": value}) == _takes(signature, {"data": value})


def _limits(schema: dict[str, Any]) -> list[float]:
    last = schema["anyOf"][-1] if "anyOf" in schema else schema
    return [last[name] for name in ("minimum", "maximum") if name in last]


def _near(limits: list[float]) -> st.SearchStrategy[float]:
    if not limits:
        return st.just(1)
    if isinstance(limits[0], int):
        return st.sampled_from([limit + step for limit in limits for step in (-1, 0, 1)])
    nearby = [float(np.nextafter(limit, to)) for limit in limits for to in (-np.inf, np.inf)]
    return st.sampled_from([*limits, *nearby])


def _is_vast_float(number: float) -> bool:
    """JSON Schema calls 1e18 an integer; the codec wants its digits."""
    return isinstance(number, float) and 2**53 <= abs(number) < 2**65


@pytest.mark.parametrize("version", list(VALIDATORS))
@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ({"x": [[1, 2, 3, 4]]}, True),
        ({"x": [[1, 2, 3, 4], [5.5, -6, 7e10, 0]]}, True),
        ({"x": []}, True),
        ({"x": [[1, 2, 3]]}, False),
        ({"x": [[1, 2, 3, 4, 5]]}, False),
        ({"x": [1, 2, 3, 4]}, False),
        ({"x": [[[1, 2, 3, 4]]]}, False),
        ({"x": [[1, 2, 3, None]]}, False),
        ({"x": [[1, 2, 3, "4"]]}, False),
        ({"x": [[1, 2, 3, 4]], "z": 1}, False),
        ({}, False),
        ([], False),
        (None, False),
    ],
)
def test_shapes_and_names_are_described(version: str, body: Any, is_right: bool) -> None:
    signature = _one("float32", "N", 4)
    assert _says(signature, version, body) is is_right
    assert _takes(signature, body) is is_right


def test_an_input_that_is_called_data_is_described_once() -> None:
    schema = _schemas(_one("float32", "N", name="data"), "3.0")["ServiceInput"]
    assert list(schema["properties"]) == ["data"]


def test_an_input_with_a_default_may_lack() -> None:
    x, k = (TensorSpec(name, "int64", ()) for name in "xk")
    signature = Signature((x,), (), (k,))
    for body in ({"x": 1}, {"x": 1, "k": 2}, {"k": 2}, {"data": 1}, {"data": 1, "k": 2}):
        assert _says(signature, "3.1", body) == _takes(signature, body)


def test_a_model_without_inputs_takes_an_empty_object() -> None:
    signature = Signature((), (TensorSpec("y", "float32", ()),))
    for version in VALIDATORS:
        assert _says(signature, version, {})
        assert not _says(signature, version, {"data": 1})


@pytest.mark.parametrize("version", list(VALIDATORS))
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS[2:6], "bool", "string"])
def test_what_is_answered_is_as_described(dtype: str, version: str) -> None:
    signature = _one(dtype, "N", 2)
    values = {"string": ["a", "b"], "bool": [True, False]}.get(dtype, [0, 1])
    answer = json.loads(encode_response({"y": np.array([values])}))
    assert _says(signature, version, answer, "ServiceOutput")
    assert not _says(signature, version, {"z": 1}, "ServiceOutput")


@pytest.mark.parametrize("version", list(VALIDATORS))
def test_answers_may_hold_what_json_has_no_number_for(version: str) -> None:
    answer = json.loads(encode_response({"y": np.array([np.nan, np.inf, -np.inf, 1])}))
    assert _says(_one("float64", "N"), version, answer, "ServiceOutput")


def test_lists_of_tensors_and_maps_have_no_exact_description() -> None:
    sequence = TensorSpec("s", "float32", None, is_sequence=True)
    probabilities = TensorSpec("p", "map", None)
    signature = Signature((sequence,), (probabilities,))
    for version in VALIDATORS:
        assert _says(signature, version, {"s": [[1], [2, 3]]})
        assert _says(signature, version, {"p": [{"0": 0.5}]}, "ServiceOutput")
        assert "example" not in _schemas(signature, version)["ServiceInput"]
