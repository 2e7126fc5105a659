"""Arrays from a user's file: .npz, .npy or JSON, whatever its name says.

inputs = read_inputs(Path("calibration.npz"), "x")              # float32, finite
inputs, labels = read_labelled(Path("held_out.npz"), "x")       # arrays x and y

Read as if an enemy wrote it: no pickles, no size that only a header claims, no nan.
"""

from __future__ import annotations

import json
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from fpga.errors import DataError

Array = Any
MOST_BYTES = 1 << 30
MOST_JSON_BYTES = 64 << 20
LABELS = "y"
_NPY, _ZIP = b"\x93NUMPY", b"PK"
_FAILURES = (
    ValueError, EOFError, NotImplementedError, RuntimeError, KeyError, OSError, OverflowError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What zipfile raises for archives that are none, damaged or encrypted."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""As numpy writes them."""


def read_inputs(path: Path, name: str) -> Array:
    """float32 [rows, ...]: the array of that name, or `x`, or the only one. Raises DataError."""
    with _opened(path) as file:
        return _inputs(path, _arrays(path, file), name)


def read_labelled(path: Path, name: str) -> tuple[Array, Array | None]:
    """Inputs as `read_inputs` has them, and the whole numbers `y`, None where there are none.

    Raises DataError."""
    with _opened(path) as file:
        arrays = dict(_arrays(path, file))
        labels = arrays.pop(LABELS)() if LABELS in arrays else None
        inputs = _inputs(path, arrays, name)
    if labels is None:
        return inputs, None
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(inputs):
        raise DataError(
            f"'{path.name}': {LABELS} must be {len(inputs)} whole numbers, one for each input, not"
            f" {labels.dtype} {list(labels.shape)}"
        )
    return inputs, labels


def _opened(path: Path) -> IO[bytes]:
    try:
        if path.exists() and not path.is_file():  # a pipe would never end, or never begin
            raise DataError(f"'{path.name}' is no plain file")
        return path.open("rb")
    except OSError as error:
        raise DataError(f"'{path.name}' cannot be read: {error.strerror}") from None


def _arrays(path: Path, file: IO[bytes]) -> Mapping[str, Callable[[], Array]]:
    """Each array by its name, read when it is called; a file of one array has the name ''."""
    try:
        start = file.read(len(_NPY))
        file.seek(0)
        if start == _NPY:
            return {"": lambda: _npy(path, file, path.stat().st_size)}
        if start.startswith(_ZIP):
            return _members(path, file)
        return _json_arrays(path, file)
    except OSError as error:
        raise DataError(f"'{path.name}' cannot be read: {error.strerror or error}") from None


def _members(path: Path, file: IO[bytes]) -> dict[str, Callable[[], Array]]:
    try:
        archive = zipfile.ZipFile(file)
    except _FAILURES as error:
        raise DataError(f"'{path.name}' is a damaged .npz: {_reason(error)}") from None

    def reader(member: zipfile.ZipInfo) -> Callable[[], Array]:
        def read() -> Array:
            if member.compress_type not in _METHODS:
                raise DataError(f"'{path.name}' is compressed otherwise than numpy does it")
            try:
                with archive.open(member) as stream:
                    return _npy(path, stream, member.file_size)
            except _FAILURES as error:
                raise DataError(
                    f"'{path.name}' is damaged at {member.filename[:40]!a}: {_reason(error)}"
                ) from None

        return read

    return {member.filename.removesuffix(".npy"): reader(member) for member in archive.infolist()}


def _npy(path: Path, stream: IO[bytes], available: int) -> Array:
    """One array. ``available``: bytes that can be there, header included."""
    try:
        shape, is_fortran, dtype = _header(stream)
    except Exception as error:  # of a header that means harm, numpy raises this and that
        raise DataError(f"'{path.name}' is no .npy file: {_reason(error)}") from None
    if any(length < 0 for length in shape):
        raise DataError(f"'{path.name}' claims a negative size")
    if dtype.hasobject:
        raise DataError(f"'{path.name}' holds pickled Python objects, which are never read")
    if dtype.kind not in "fiub":
        raise DataError(f"'{path.name}' holds {dtype}, and numbers are needed")
    size = math.prod(shape) * dtype.itemsize
    if size > MOST_BYTES:
        raise DataError(
            f"'{path.name}' claims {size >> 20} MiB; {MOST_BYTES >> 20} MiB is the most"
        )
    if size > available:
        raise DataError(f"'{path.name}' is cut short: its header claims {size} bytes")
    data = stream.read(size)
    if len(data) != size:
        raise DataError(f"'{path.name}' is cut short: {len(data)} bytes of {size}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    form = np.lib.format
    version = form.read_magic(stream)
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 2
        return readers[version](stream)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _json_arrays(path: Path, file: IO[bytes]) -> dict[str, Callable[[], Array]]:
    """A list, or an object of lists by name, as POST /score has it."""
    text = file.read(MOST_JSON_BYTES + 1)
    if len(text) > MOST_JSON_BYTES:
        raise DataError(
            f"'{path.name}' is neither .npz nor .npy, and too large for JSON"
            f" ({MOST_JSON_BYTES >> 20} MiB is the most)"
        )
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise DataError(f"'{path.name}' is neither .npz, .npy nor JSON") from None
    named = found if isinstance(found, dict) else {"": found}
    return {str(name): partial(_listed, path, value) for name, value in named.items()}


def _no_constant(constant: str) -> Any:
    raise ValueError(constant)


def _listed(path: Path, value: Any) -> Array:
    try:
        found = np.asarray(value)
    except (ValueError, RecursionError):
        raise DataError(f"'{path.name}' holds lists of different lengths") from None
    if found.dtype.kind not in "fiub":
        raise DataError(f"'{path.name}' holds what is no number")
    return found


def _inputs(path: Path, arrays: Mapping[str, Callable[[], Array]], name: str) -> Array:
    found = _chosen(path, arrays, name)()
    if found.ndim < 2 or not len(found):
        raise DataError(f"'{path.name}' must hold rows of inputs, not {list(found.shape)}")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"'{path.name}' holds nan or infinity")
    return values


def _chosen(
    path: Path, arrays: Mapping[str, Callable[[], Array]], name: str
) -> Callable[[], Array]:
    for wanted in (name, "x"):
        if wanted in arrays:
            return arrays[wanted]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    names = ", ".join(repr(each[:40]) for each in list(arrays)[:8])
    raise DataError(f"'{path.name}' must hold one array, or one named {name[:40]!r}, not {names}")
