"""The answer to a request to infer: outputs to bytes.

encoder = ResponseEncoder("digits", "1")
body, header_length = encoder.encode(request, outputs)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from scoring.errors import InputError
from scoring.oip.classification import classify
from scoring.oip.datatypes import datatype_of_dtype
from scoring.oip.expected import Array
from scoring.oip.infer_request import InferRequest, RequestedOutput, unexpected_output
from scoring.oip.tensor_binary import write_binary
from scoring.oip.tensor_json import write_data

_SHAPES = [",".join(["%d"] * dims).encode() for dims in range(65)]
"""Templates of what stands between the brackets; numpy has at most 64 dimensions."""
Labels = Mapping[str, Sequence[str]]


class ResponseEncoder:
    """Encodes the answers of one model; may be used by several threads at a time. ``labels`` name
    the classes of an output, by the output's name."""

    def __init__(self, model_name: str, model_version: str, labels: Labels | None = None) -> None:
        self._model_name = model_name
        self._labels: Labels = labels or {}
        model = orjson.dumps({"model_name": model_name, "model_version": model_version})
        self._start = b"{" + model[1:-1] + b',"outputs":['
        self._heads: dict[tuple[str, str], bytes] = {}

    def encode(self, request: InferRequest, outputs: Mapping[str, Any]) -> tuple[bytes, int | None]:
        """The body, and how much of it is JSON when the rest is binary data (then the answer has
        the header Inference-Header-Content-Length and is application/octet-stream).

        Raises InputError when ``request`` asks for an output that is not there, or when the
        protocol cannot carry one."""
        start = self._start
        if request.id is not None:
            start = b'{"id":' + orjson.dumps(request.id) + b"," + start[1:]
        written: list[bytes] = []
        chunks: list[bytes] = []
        if request.outputs is None:
            binary = request.binary_data_output
            for name, value in outputs.items():
                written.append(self._tensor(name, value, binary, chunks))
        else:
            for asked in request.outputs:
                written.append(self._asked(asked, request, outputs, chunks))
        header = start + b",".join(written) + b"]}"
        if not chunks:
            return header, None
        return b"".join((header, *chunks)), len(header)

    def encode_rows(
        self, request: InferRequest, outputs: Mapping[str, Any], start: int, stop: int
    ) -> tuple[bytes, int | None]:
        """As ``encode``, of the rows ``start`` to ``stop`` of each output of a merged batch."""
        rows = {name: value[start:stop] for name, value in outputs.items()}
        return self.encode(request, rows)

    def _asked(
        self,
        asked: RequestedOutput,
        request: InferRequest,
        outputs: Mapping[str, Any],
        chunks: list[bytes],
    ) -> bytes:
        name = asked.name
        if name not in outputs:
            raise InputError(unexpected_output(name, self._model_name))
        value = outputs[name]
        if asked.classification:
            labels = self._labels.get(name, ())
            value = classify(name, np.asarray(value), asked.classification, labels)
        binary = asked.binary_data
        if binary is None:
            binary = request.binary_data_output
        return self._tensor(name, value, binary, chunks)

    def _tensor(self, name: str, value: Any, binary: bool, chunks: list[bytes]) -> bytes:
        """The JSON of one output; its binary data goes to ``chunks``."""
        if not isinstance(value, np.ndarray):
            value = _array(name, value)
        datatype = datatype_of_dtype(value.dtype)
        if datatype is None:
            raise InputError(_no_datatype(name, value.dtype.name))
        head = self._heads.get((name, datatype)) or self._head(name, datatype)
        shape = _SHAPES[value.ndim] % value.shape
        if not binary:
            return b'%b%b],"data":%b}' % (head, shape, write_data(value, datatype, name))
        chunk = write_binary(value, datatype)
        chunks.append(chunk)
        return b'%b%b],"parameters":{"binary_data_size":%d}}' % (head, shape, len(chunk))

    def _head(self, name: str, datatype: str) -> bytes:
        head = orjson.dumps({"name": name, "datatype": datatype})[:-1] + b',"shape":['
        if len(self._heads) < 256:  # outputs of one model, each in its dtype
            self._heads[name, datatype] = head
        return head


def encode_infer(
    model_name: str, model_version: str, request: InferRequest, outputs: Mapping[str, Any]
) -> tuple[bytes, int | None]:
    """``ResponseEncoder.encode`` for who does not keep one."""
    return _encoder(model_name, model_version).encode(request, outputs)


def encode_infer_rows(
    model_name: str,
    model_version: str,
    request: InferRequest,
    outputs: Mapping[str, Any],
    start: int,
    stop: int,
) -> tuple[bytes, int | None]:
    """``ResponseEncoder.encode_rows`` for who does not keep one."""
    return _encoder(model_name, model_version).encode_rows(request, outputs, start, stop)


@lru_cache(maxsize=64)
def _encoder(model_name: str, model_version: str) -> ResponseEncoder:
    return ResponseEncoder(model_name, model_version)


def _array(name: str, value: Any) -> Array:
    if isinstance(value, np.generic | bool | int | float | str):
        return np.asarray(value)
    raise InputError(_no_datatype(name, "a list or a map"))


def _no_datatype(name: str, kind: str) -> str:
    return (
        f"output '{name}' is {kind}: the Open Inference Protocol has no datatype for it; "
        "ask for other outputs, or use POST /score"
    )
