"""Makes requests that fit a model, from what the server tells about it. Pure.

Zeros, of the right shape: an index or a length of 0 is always there. Free sizes are 1; where the
first is not the only one, a few larger ones are tried too, since an image of 1 x 1 pixels is too
small for most networks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

FREE_SIZES = (1, 32, 224)
MAX_VALUES = 4_000_000
"""In a request; the body limit of a server is 100 MiB."""
TEXT = "text"


def of_script(swagger: Any) -> bytes | None:
    """The example of a script's own description (version 2), if it has any."""
    try:
        example = swagger["definitions"]["ServiceInput"]["example"]
    except (KeyError, TypeError):
        return None
    return json.dumps(example).encode() if example else None


def of_model(metadata: Any, config: Any) -> Iterator[bytes]:
    """Requests to try in turn; none when the model takes what nobody can make. ``metadata`` and
    ``config`` are the Open Inference Protocol's documents."""
    if not isinstance(metadata, dict):
        return
    tensors = ((config or {}).get("input")) or []
    optional = {tensor["name"] for tensor in tensors if tensor.get("optional")}
    inputs = [tensor for tensor in metadata["inputs"] if tensor["name"] not in optional]
    if any("MAP" in tensor["datatype"] for tensor in inputs):
        return
    varies = any(-1 in tensor["shape"][1:] for tensor in inputs)
    for free in FREE_SIZES if varies else FREE_SIZES[:1]:
        shapes = [_shape(tensor["shape"], free) for tensor in inputs]
        if sum(map(math.prod, shapes)) > MAX_VALUES:
            return
        body = {
            tensor["name"]: _value(tensor["datatype"], shape)
            for tensor, shape in zip(inputs, shapes, strict=True)
        }
        yield json.dumps(body, separators=(",", ":")).encode()


def _shape(dims: list[int], free: int) -> list[int]:
    """With sizes: the first free one is 1, being a batch's."""
    return [dim if dim >= 0 else (1 if place == 0 else free) for place, dim in enumerate(dims)]


def _value(datatype: str, shape: list[int]) -> Any:
    if datatype.startswith("LIST_"):
        return [_value(datatype.removeprefix("LIST_"), shape)]
    value: Any = _element(datatype)
    for dim in reversed(shape):
        value = [value] * dim
    return {"shape": shape, "data": []} if 0 in shape else value


def _element(datatype: str) -> str | bool | int:
    if datatype == "BYTES":
        return TEXT
    if datatype == "BOOL":
        return False
    return 1 if datatype == "FLOAT8_E8M0FNU" else 0  # which has no zero
