"""ONNX models through onnxruntime: the one module that names it.

onnxruntime's Linux wheels send telemetry from 1.29 on unless told not to before the first import
(research/serving.md, section 1); ``_runtime`` sees to that.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import EngineError, InputError, ModelLoadError
from scoring.signature import Dim, Signature, TensorSpec, shape_text
from scoring.tensors import dtype_of

_ELEMENTS = {
    "float": ("float32", 1),
    "uint8": ("uint8", 2),
    "int8": ("int8", 3),
    "uint16": ("uint16", 4),
    "int16": ("int16", 5),
    "int32": ("int32", 6),
    "int64": ("int64", 7),
    "string": ("string", 8),
    "bool": ("bool", 9),
    "float16": ("float16", 10),
    "double": ("float64", 11),
    "uint32": ("uint32", 12),
    "uint64": ("uint64", 13),
    "bfloat16": ("bfloat16", 16),
    "float8e4m3fn": ("float8_e4m3fn", 17),
    "float8e4m3fnuz": ("float8_e4m3fnuz", 18),
    "float8e5m2": ("float8_e5m2", 19),
    "float8e5m2fnuz": ("float8_e5m2fnuz", 20),
    "uint4": ("uint4", 21),
    "int4": ("int4", 22),
    "float8e8m0": ("float8_e8m0fnu", 24),
    "uint2": ("uint2", 25),
    "int2": ("int2", 26),
}
"""Our dtype name and ONNX's element number (onnx.proto3, TensorProto.DataType) by ORT's name."""
_NUMBERS = dict(_ELEMENTS.values())
_PER_BYTE = {"uint4": 2, "int4": 2, "uint2": 4, "int2": 4}
"""Types of which onnxruntime packs several elements into a byte, the first in the low bits."""


def _runtime() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def preload() -> None:
    """Import onnxruntime now, for the processes that are forked later."""
    _runtime()


class OnnxEngine:
    """A loaded model. ``run`` may be called from several threads at a time."""

    def __init__(self, session: Any) -> None:
        self._session = session
        # InferenceSession.run checks names, which we have checked; it takes 3 us of 15.
        self._inner_run = getattr(session, "_sess", session).run
        self._output_names = [node.name for node in session.get_outputs()]
        self.signature = Signature(
            inputs=tuple(_spec(node) for node in session.get_inputs()),
            outputs=tuple(_spec(node) for node in session.get_outputs()),
            optional_inputs=tuple(_spec(node) for node in session.get_overridable_initializers()),
        )
        _check_mixture(self.signature)
        specs = (*self.signature.inputs, *self.signature.optional_inputs)
        self._takes_bits = {spec.name for spec in specs if _is_extension(spec.dtype)}
        self._gives_bits = any(_is_extension(spec.dtype) for spec in self.signature.outputs)

    @classmethod
    def load(cls, path: Path, *, threads: int | None = None) -> OnnxEngine:
        """Load ``path`` with ``threads`` threads a run (None: onnxruntime decides).

        Raises ModelLoadError, one line without paths."""
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
            # Threads that wait for work by spinning take the cores from the other processes.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = runtime.InferenceSession(
                os.fspath(path), options, providers=["CPUExecutionProvider"]
            )
            return cls(session)
        except ModelLoadError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise ModelLoadError(_one_line(error)) from error

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name: arrays, lists of arrays (sequences) or lists of dicts (maps).

        Raises InputError when onnxruntime finds the inputs at fault, else EngineError."""
        try:
            values = self._values(inputs)
        except Exception as error:
            odd = _missing(self.signature, inputs) or _disagreement(self.signature, inputs)
            if odd is not None:
                raise InputError(odd) from error
            raise _run_error(error) from error
        return {
            spec.name: value for spec, value in zip(self.signature.outputs, values, strict=True)
        }

    def close(self) -> None:
        """Free the session."""
        self._session = self._inner_run = None

    def _values(self, inputs: Mapping[str, Any]) -> list[Any]:
        """The outputs in model order."""
        if not self._gives_bits:
            if self._takes_bits:
                odd = {name: _ort_value(inputs[name]) for name in self._takes_bits & inputs.keys()}
                inputs = {**inputs, **odd}
            values: list[Any] = self._inner_run(self._output_names, inputs, None)
            return values
        feeds = {name: _ort_value(value) for name, value in inputs.items()}
        outputs = self._session.run_with_ort_values(None, feeds)
        specs = self.signature.outputs
        return [_from_ort(spec, value) for spec, value in zip(specs, outputs, strict=True)]


def _is_extension(dtype: str) -> bool:
    return dtype == "bfloat16" or dtype.startswith("float8") or dtype in _PER_BYTE


def _check_mixture(signature: Signature) -> None:
    """onnxruntime's Python API gives types that numpy lacks only as OrtValues, which it makes of no
    text and of no list."""
    odd = next((spec for spec in signature.outputs if _is_extension(spec.dtype)), None)
    for spec in (*signature.inputs, *signature.optional_inputs):
        if odd is not None and (spec.is_sequence or spec.dtype == "string"):
            raise ModelLoadError(
                f"input '{spec.name}' is {spec} and output '{odd.name}' is {odd.dtype}:"
                " that mixture is not supported"
            )


def _ort_value(array: Any) -> Any:
    """Types that numpy lacks go in as bits of the same width."""
    runtime, name = _runtime(), array.dtype.name
    if not _is_extension(name):
        return runtime.OrtValue.ortvalue_from_numpy(array)
    bits = np.asarray(array, order="C").view(np.uint16 if name == "bfloat16" else np.uint8)
    if name in _PER_BYTE:
        bits = _packed(bits, _PER_BYTE[name])
    return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _NUMBERS[name])


def _from_ort(spec: TensorSpec, value: Any) -> Any:
    if not value.is_tensor():
        return value._ortvalue.to_python()
    if not _is_extension(spec.dtype):
        return value.numpy()
    shape, dtype = tuple(value.shape()), dtype_of(spec.dtype)
    # OrtValue.numpy() refuses these types; its data_ptr is the only way to the bits.
    held = np.frombuffer(
        ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()), dtype=np.uint8
    )
    if spec.dtype in _PER_BYTE:
        held = _unpacked(held, _PER_BYTE[spec.dtype])[: math.prod(shape)]
    return held.view(dtype).reshape(shape)


def _packed(bits: NDArray[Any], per_byte: int) -> NDArray[np.uint8]:
    """The bytes that onnxruntime reads, at the front of an array of the shape of ``bits``."""
    width = 8 // per_byte
    padded = np.zeros(-(-bits.size // per_byte) * per_byte, np.uint8)
    padded[: bits.size] = bits.reshape(-1) & (2**width - 1)
    places = np.arange(per_byte, dtype=np.uint8) * width
    whole = np.bitwise_or.reduce(padded.reshape(-1, per_byte) << places, axis=1)
    laid = np.zeros(bits.size, np.uint8)
    laid[: whole.size] = whole
    return laid.reshape(bits.shape)


def _unpacked(packed: NDArray[np.uint8], per_byte: int) -> NDArray[np.uint8]:
    width = 8 // per_byte
    places = np.arange(per_byte, dtype=np.uint8) * width
    bits: NDArray[np.uint8] = (packed[:, None] >> places) & np.uint8(2**width - 1)
    return bits.reshape(-1)


_TYPE = re.compile(r"(?:(seq|optional)\()?tensor\((\w+)\)\)?")


def _spec(node: Any) -> TensorSpec:
    if node.type.startswith(("seq(map(", "map(")):  # a classifier's probabilities by label
        return TensorSpec(node.name, "map", None)
    matched = _TYPE.fullmatch(node.type)
    if matched is None or matched[1] == "optional" or matched[2] not in _ELEMENTS:
        raise ModelLoadError(f"'{node.name}' has type {node.type}, which is not supported")
    is_sequence = matched[1] == "seq"
    shape = None if is_sequence else tuple(_dim(size) for size in node.shape)
    return TensorSpec(node.name, _ELEMENTS[matched[2]][0], shape, is_sequence)


def _dim(size: Any) -> Dim:
    return size if isinstance(size, int) or (isinstance(size, str) and size) else None


def _missing(signature: Signature, inputs: Mapping[str, Any]) -> str | None:
    """Which input there is not; as with sizes, only a failed run asks."""
    names = (spec.name for spec in signature.inputs if spec.name not in inputs)
    missing = next(names, None)
    return None if missing is None else f"input '{missing}' is missing"


def _disagreement(signature: Signature, inputs: Mapping[str, Any]) -> str | None:
    """Which inputs have different sizes for a dimension of one name. A model may do with that (1
    beside N), so that only a failed run asks."""
    seen: dict[str, tuple[str, int]] = {}
    for name, value in inputs.items():
        spec = signature.input(name)
        if spec is None or spec.shape is None or value is None:
            continue
        for dim, size in zip(spec.shape, np.shape(value), strict=False):
            if not isinstance(dim, str):
                continue
            first, other = seen.setdefault(dim, (name, size))
            if other != size:
                shapes = [f"'{n}' {shape_text(np.shape(inputs[n]))}" for n in (first, name)]
                return (
                    f"inputs {shapes[0]} and {shapes[1]} disagree:"
                    f" {dim} is {other} in one and {size} in the other"
                )
    return None


_SIZES = re.compile("broadcast|dimension|shape", re.IGNORECASE)
"""What onnxruntime's message has when a node's inputs do not fit each other."""


def _run_error(error: Exception) -> InputError | EngineError:
    text = _one_line(error)
    is_refusal = type(error).__name__ == "InvalidArgument" or isinstance(error, ValueError)
    if is_refusal or _SIZES.search(text):
        return InputError(f"the model refuses these inputs: {text}")
    return EngineError(f"the model failed on these inputs: {text}")


def _one_line(error: Exception) -> str:
    """onnxruntime's message without source locations and paths."""
    text = str(error).split("\n")[0]
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"(?:[\w.-]*/)+[\w.+-]*(?::\d+)?", "", text)
    return " ".join(text.split())[:300]
