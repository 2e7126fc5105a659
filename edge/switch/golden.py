"""Golden inputs, and whether an answer is what it should be. Pure; JSON in, one line out.

Numbers may be texts where JSON has none: "NaN", "Infinity", "-Infinity". An answer must not have
one, unless the expected answer has it at the same place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from edge.errors import GateError
from registry.fpga_artifact import ENGINE as FPGA_ENGINE

WITH_SIGNATURE = ("onnx", FPGA_ENGINE)
"""Engines that take what the model's signature says."""
MAX_CASES = 1000
MAX_ELEMENTS = 1_000_000
MAX_DEPTH = 200
NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"})


class Case(msgspec.Struct, frozen=True):
    """A body of POST /score, and its answer if that is known."""

    input: Any
    output: Any = msgspec.UNSET


class Tolerance(msgspec.Struct, frozen=True):
    """|answer - expected| <= absolute + relative * |expected|."""

    absolute: float = 1e-4
    relative: float = 1e-3


class Golden(msgspec.Struct, frozen=True):
    """golden.json (registry/golden.py checked it when the image was made)."""

    cases: list[Case]
    v: int = 1
    tolerance: Tolerance = Tolerance()
    max_latency_ms: float | None = None


def read_golden(data: bytes) -> Golden:
    """Raises GateError: an image that brings a test which cannot be read does not pass."""
    try:
        golden = msgspec.json.decode(data, type=Golden)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise GateError("status", f"golden.json of the image cannot be read: {error}") from error
    if golden.v != 1 or not 1 <= len(golden.cases) <= MAX_CASES:
        raise GateError("status", "golden.json of the image is of another kind")
    return golden


class _Tensor(msgspec.Struct, frozen=True):
    name: str
    dtype: str = ""
    shape: list[int | str | None] | None = None


class _Signature(msgspec.Struct, frozen=True):
    inputs: list[_Tensor] = []


class _Entry(msgspec.Struct, frozen=True):
    signature: _Signature | None = None


class _Bundle(msgspec.Struct, frozen=True):
    engine: str = ""
    models: list[_Entry] = []


def made_from_signature(bundle_json: bytes) -> Golden | None:
    """Zeros of the smallest shape that the model takes; None when nobody says what it takes, as for
    a script."""
    try:
        bundle = msgspec.json.decode(bundle_json, type=_Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if (
        bundle.engine not in WITH_SIGNATURE
        or not bundle.models
        or bundle.models[0].signature is None
    ):
        return None
    inputs = bundle.models[0].signature.inputs
    if not inputs or any(not _is_plain(each) for each in inputs):
        return None
    values = {each.name: _zeros(each) for each in inputs}
    return Golden([Case(values)])


@dataclass(frozen=True, slots=True)
class Answer:
    """Of POST /score."""

    status: int
    body: bytes
    seconds: float


def check_answer(answer: Answer, what: str) -> Any:
    """The JSON of an answer that is one; its bytes when they are no JSON, as a script may answer
    anything. Raises GateError("status") for another than 200, and for one that nobody can read."""
    if answer.status != 200:
        text = " ".join(answer.body[:300].decode("utf-8", "replace").split())
        raise GateError("status", f"{what}: HTTP {answer.status}: {text}")
    try:
        document = json.loads(answer.body)
    except RecursionError as error:
        raise GateError("shape", f"{what}: the answer is nested too deeply") from error
    except ValueError:
        return answer.body
    if _is_deeper(document, MAX_DEPTH):
        raise GateError("shape", f"{what}: the answer is nested too deeply")
    return document


def check_finite(document: Any, what: str) -> None:
    """Raises GateError("finite") where a number is none."""
    where = _not_finite(document, "")
    if where is not None:
        raise GateError(
            "finite", f"{what}: the answer has no finite number at {where or 'its top'}"
        )


def is_finite(document: Any) -> bool:
    """Whether all its numbers are."""
    return _not_finite(document, "") is None


def check_expected(document: Any, expected: Any, tolerance: Tolerance, what: str) -> None:
    """Raises GateError("shape"), ("finite") or ("tolerance")."""
    _compare(document, expected, tolerance, what, "")


def check_shape(document: Any, old: Any, what: str) -> None:
    """That it has the same form as the old version's answer to the same input: lengths, keys and
    kinds. Raises GateError."""
    if shape(document) != shape(old):
        raise GateError(
            "shape", f"{what}: the answer has another shape than the version before:"
            f" {_short(shape(document))} where that has {_short(shape(old))}"
        )  # fmt: skip


def shape(document: Any) -> Any:
    """Its form: a list of equal forms by length, dictionaries by keys, numbers as one kind (also
    those that are none)."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        forms = [shape(each) for each in document]
        if forms and all(form == forms[0] for form in forms):
            return [len(forms), forms[0]]
        return ["list", *forms]
    if isinstance(document, (bool, int, float)) or _is_not_finite(document):
        return "number"
    return "text" if isinstance(document, str) else type(document).__name__


def check_latency(
    new_s: float, old_s: float | None, max_ms: float | None, factor: float | None, floor_s: float
) -> None:
    """Medians. Raises GateError. Below ``floor_s`` nothing is too slow beside the old version."""
    if max_ms is not None and new_s * 1000 > max_ms:
        raise GateError("latency", f"{new_s * 1000:.1f} ms, where {max_ms:g} ms are allowed")
    if old_s is None or factor is None or new_s <= floor_s:
        return
    if new_s > old_s * factor:
        raise GateError(
            "latency",
            f"{new_s * 1000:.1f} ms, where the version before takes {old_s * 1000:.1f} ms"
            f" ({factor:g} times that is allowed)",
        )


def _compare(found: Any, expected: Any, tolerance: Tolerance, what: str, where: str) -> None:
    here = where or "its top"
    if _is_not_finite(found):
        if not (_is_not_finite(expected) and _kind_of(found) == _kind_of(expected)):
            raise GateError(
                "finite", f"{what}: {found!r} where {_short(expected)} is due, at {here}"
            )
    elif _is_number(expected) and _is_number(found):
        if not _is_near(found, expected, tolerance):
            raise GateError(
                "tolerance", f"{what}: {_short(found)} where {_short(expected)} is due, at {here}"
            )
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            raise GateError(
                "shape", f"{what}: {len(found)} values where {len(expected)} are due, at {here}"
            )
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            _compare(a, b, tolerance, what, f"{where}[{i}]")
    elif isinstance(expected, dict) and isinstance(found, dict):
        if set(found) != set(expected):
            raise GateError("shape", f"{what}: other keys than are due, at {here}")
        for key, value in expected.items():
            _compare(found[key], value, tolerance, what, f"{where}.{key}")
    elif found != expected or isinstance(found, bool) != isinstance(expected, bool):
        kind = "tolerance" if type(found) is type(expected) else "shape"
        raise GateError(kind, f"{what}: {_short(found)} where {_short(expected)} is due, at {here}")


def _is_near(found: float, expected: float, tolerance: Tolerance) -> bool:
    try:
        allowed = tolerance.absolute + tolerance.relative * abs(expected)
        return abs(found - expected) <= allowed
    except OverflowError:  # JSON has whole numbers that no float can hold
        return found == expected


def _not_finite(document: Any, where: str) -> str | None:
    """Where the first number is that is none; None: nowhere."""
    if _is_not_finite(document):
        return where
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(document, list):
        inner = enumerate(document)
    elif isinstance(document, dict):
        inner = document.items()
    for key, value in inner:
        found = _not_finite(value, f"{where}[{key}]")
        if found is not None:
            return found
    return None


def _is_deeper(document: Any, levels: int) -> bool:
    if not isinstance(document, (list, dict)):
        return False
    inner = document.values() if isinstance(document, dict) else document
    return levels <= 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _is_not_finite(value: Any) -> bool:
    if isinstance(value, str):
        return value in NOT_FINITE
    return isinstance(value, float) and not math.isfinite(value)


def _kind_of(value: Any) -> str:
    """ "nan", "inf" or "-inf", of a number or its text."""
    return str(float(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_plain(tensor: _Tensor) -> bool:
    if tensor.shape is None or "<" in tensor.dtype:  # sequences and the like
        return False
    sizes = [d if isinstance(d, int) and d > 0 else 1 for d in tensor.shape]
    return math.prod(sizes) <= MAX_ELEMENTS


def _zeros(tensor: _Tensor) -> Any:
    value: Any = 0
    if "float" in tensor.dtype or "double" in tensor.dtype:
        value = 0.0
    elif "str" in tensor.dtype:
        value = ""
    elif "bool" in tensor.dtype:
        value = False
    for size in reversed(tensor.shape or ()):
        value = [value] * (size if isinstance(size, int) and size > 0 else 1)
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
