"""Whether the header of a .safetensors file is right: its length, and tensors that lie in the file,
one behind the other. Pure but for the reading."""

from __future__ import annotations

import math
from typing import IO

import msgspec

MAX_HEADER_BYTES = 100_000_000
"""As the format's own library has it."""
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def fault(file: IO[bytes], size_bytes: int) -> str | None:
    """What is wrong with it, in words that follow "the file"; None: nothing."""
    length = int.from_bytes(file.read(8), "little")
    if size_bytes < 10 or length > min(MAX_HEADER_BYTES, size_bytes - 8):
        return "has a header that is longer than the file or than any can be"
    try:
        header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        if "__metadata__" in header:
            msgspec.json.decode(header.pop("__metadata__"), type=dict[str, str])
        tensors = [msgspec.json.decode(raw, type=_Tensor) for raw in header.values()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "has a header that is no JSON of tensors"
    return _fault(tensors, size_bytes - 8 - length)


def _fault(tensors: list[_Tensor], data_bytes: int) -> str | None:
    end = 0
    for tensor in sorted(tensors, key=lambda each: each.data_offsets):
        begin, after = tensor.data_offsets
        if begin != end or after < begin:
            return "has tensors that overlap or leave a gap"
        if tensor.dtype not in _BITS or any(size < 0 for size in tensor.shape):
            return "has a tensor of a type or shape that there is none of"
        if math.prod(tensor.shape) * _BITS[tensor.dtype] != 8 * (after - begin):
            return "has a tensor whose bytes do not fit its shape"
        end = after
    if end != data_bytes:
        return "has other bytes behind its tensors, or too few"
    return None
