"""Reads what an .onnx file says of itself; the one module that names the ``onnx`` package."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath
from typing import Any

from registry.errors import InvalidOnnxError
from registry.records import Dim, Signature, TensorInfo
from registry.tree import shown

MAX_BYTES = 2**31 - 1
"""Of one protobuf message."""
_RENAMED = {"float": "float32", "double": "float64"}


def read_signature(file: Path, path: str, siblings: Set[str]) -> Signature:
    """The signature of the .onnx ``file``, which is ``path`` in its model; ``siblings`` are the
    paths of the model's files, where external data must be. Raises InvalidOnnxError."""
    if file.stat().st_size > MAX_BYTES:
        raise InvalidOnnxError(
            f"'{shown(path)}' is larger than 2 GiB, more than ONNX allows; save its weights as"
            " external data and register the folder"
        )
    try:
        return _read(_load(file, path), path, siblings)
    except (ValueError, RecursionError) as error:  # text that is not UTF-8, an unknown type
        raise InvalidOnnxError(f"'{shown(path)}' is damaged: {error}") from error


def _read(model: Any, path: str, siblings: Set[str]) -> Signature:
    for location in _external_locations(model):
        _check_location(location, path, siblings)
    graph = model.graph
    given = {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    return Signature(
        inputs=tuple(_info(value) for value in graph.input if value.name not in given),
        outputs=tuple(_info(value) for value in graph.output),
    )


def _load(file: Path, path: str) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InvalidOnnxError(
            "reading .onnx files needs the package onnx: pip install 'inferry[registry]'"
        ) from error
    try:
        model = onnx.load_model_from_string(file.read_bytes())
    except (DecodeError, ValueError, RecursionError) as error:
        raise InvalidOnnxError(f"'{shown(path)}' is no ONNX file or is cut short") from error
    if not model.HasField("graph") or not model.graph.output:
        raise InvalidOnnxError(f"'{shown(path)}' is no ONNX file: it has no graph with outputs")
    return model


def _external_locations(message: Any) -> Iterator[str]:
    """Every ``location`` of external data, wherever in the model a tensor can be."""
    stack = [message]
    while stack:
        node = stack.pop()
        if node.DESCRIPTOR.name == "TensorProto":
            locations = [_text(e.value) for e in node.external_data if e.key == "location"]
            is_external = node.data_location == node.EXTERNAL
            yield from locations or [""] * is_external
            continue
        for field, value in node.ListFields():
            if field.message_type is not None:
                repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == 3
                stack.extend(value if repeated else [value])


def _check_location(location: str, path: str, siblings: Set[str]) -> None:
    parts = PurePosixPath(location).parts
    if not parts:
        raise InvalidOnnxError(f"'{shown(path)}' has external data that names no file")
    if PurePosixPath(location).is_absolute() or ".." in parts or "\\" in location:
        raise InvalidOnnxError(
            f"'{shown(path)}' keeps data in '{shown(location)}', outside of its own folder"
        )
    wanted = str(PurePosixPath(path).parent / location)
    if wanted not in siblings:
        raise InvalidOnnxError(
            f"'{shown(path)}' keeps data in '{shown(location)}', which is not there;"
            " register the folder that holds both"
        )


def _info(value: Any) -> TensorInfo:
    kind = value.type.WhichOneof("value")
    wrap, inner = "{}", value.type
    while kind in ("sequence_type", "optional_type"):
        wrap = wrap.format(kind.removesuffix("_type") + "<{}>")
        inner = getattr(inner, kind).elem_type
        kind = inner.WhichOneof("value")
    if kind == "map_type":
        return TensorInfo(_text(value.name), wrap.format("map"), None)
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return TensorInfo(_text(value.name), wrap.format("unknown"), None)
    tensor = getattr(inner, kind)
    return TensorInfo(_text(value.name), wrap.format(_dtype(tensor.elem_type)), _shape(tensor))


def _dtype(number: int) -> str:
    import onnx

    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return _RENAMED.get(name, name)


def _shape(tensor: Any) -> tuple[Dim, ...] | None:
    if not tensor.HasField("shape"):
        return None
    return tuple(_dim(dim) for dim in tensor.shape.dim)


def _dim(dim: Any) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return _text(dim.dim_param) or None


def _text(value: Any) -> str:
    """Text of the file. protobuf gives bytes for what is not UTF-8."""
    if not isinstance(value, str):
        raise ValueError(f"it has text that is not UTF-8: {value!r}")
    return value
