"""A request to infer: bytes to tensors in the model's dtypes.

decoder = RequestDecoder(signature, "digits")
request = decoder.decode(body, header_length)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from scoring.errors import BodyError, InputError
from scoring.oip.datatypes import checked_datatype
from scoring.oip.envelope import Envelope, Head, InputTensor, OutputTensor, read_envelope
from scoring.oip.expected import Array, Expected
from scoring.oip.large_json import LARGE_BYTES, LargeReader
from scoring.oip.raw_request import read_raw
from scoring.oip.tensor_binary import read_binary
from scoring.oip.tensor_json import parse_data
from scoring.signature import Signature

NO_SHARED_MEMORY = "shared memory is not offered: send the tensor in the body"
MAX_MICROSECONDS = 2**63
_OWN = frozenset(
    {"binary_data_output", "priority", "timeout", "sequence_id", "sequence_start", "sequence_end"}
)


class RequestedOutput(msgspec.Struct, frozen=True):
    """One output to answer with: as binary data or JSON (None: as the request says for all), as the
    ``classification`` largest values with their indices (0: as it is)."""

    name: str
    binary_data: bool | None = None
    classification: int = 0


class InferRequest(msgspec.Struct, frozen=True):
    """``outputs`` is None for all. ``priority`` 1 is the highest, 0 the default. ``timeout_us`` is
    how long the request may wait, None without bound. ``parameters`` are those of no meaning here.
    """

    inputs: dict[str, Array]
    id: str | None = None
    outputs: tuple[RequestedOutput, ...] | None = None
    binary_data_output: bool = False
    priority: int = 0
    timeout_us: int | None = None
    parameters: dict[str, Any] = {}


class RequestDecoder:
    """Decodes the requests to one model; may be used by several threads at a time."""

    def __init__(self, signature: Signature, model_name: str = "") -> None:
        self._signature = signature
        self._model_name = model_name
        known = (*signature.inputs, *signature.optional_inputs)
        self._expected = {spec.name: Expected(spec) for spec in known}
        self._required = len(signature.inputs)
        self._outputs = frozenset(spec.name for spec in signature.outputs)
        self._large = LargeReader(self._expected)

    def decode(self, body: bytes, header_length: int | None = None) -> InferRequest:
        """``header_length`` is the header Inference-Header-Content-Length: how much of ``body`` is
        JSON; None for all of it, 0 for none.

        Raises BodyError when ``body`` is not as the protocol says, InputError when it does not fit
        the model."""
        if header_length is None:
            if len(body) >= LARGE_BYTES and self._large.usable:
                large = self._large.read(body)
                if large is not None:
                    return self._request(large.head, large.inputs)
            envelope = read_envelope(body)
            return self._request(envelope, self._inputs(envelope, body, len(body), None))
        if header_length == 0:
            return self._raw(body)
        if not 0 < header_length <= len(body):
            raise BodyError(
                f"Inference-Header-Content-Length is {header_length}, the body's length {len(body)}"
            )
        envelope = read_envelope(memoryview(body)[:header_length])
        return self._request(envelope, self._inputs(envelope, body, header_length, header_length))

    def _raw(self, body: bytes) -> InferRequest:
        if self._required != 1:
            raise InputError(
                f"a raw request is for a model with one input; this one has {self._required}"
            )
        spec = self._signature.inputs[0]
        checked_datatype(spec, "input")
        array = read_raw(body, self._expected[spec.name])
        return InferRequest({spec.name: array}, binary_data_output=True)

    def _inputs(
        self, envelope: Envelope, body: bytes, start: int, header_length: int | None
    ) -> dict[str, Array]:
        """The tensors, those in binary from ``start`` of ``body`` on."""
        tensors = envelope.inputs
        expected_by_name = self._expected
        if len(tensors) > len(expected_by_name):
            raise InputError(f"{len(tensors)} inputs are given; {self._known()}")
        arrays: dict[str, Array] = {}
        for tensor in tensors:
            expected = expected_by_name.get(tensor.name)
            if expected is None:
                raise InputError(f"there is no input '{tensor.name[:100]}'; {self._known()}")
            if tensor.name in arrays:
                raise InputError(f"input '{tensor.name}' is given twice")
            if not expected.is_standard:
                checked_datatype(expected.spec, "input")
            size = expected.check(tensor.datatype, tensor.shape)
            end = _binary_end(tensor, start, len(body), header_length)
            if end is None:
                data = memoryview(tensor.data)
                arrays[tensor.name] = parse_data(data, tensor.shape, size, expected)
            else:
                arrays[tensor.name] = read_binary(body, start, end, tensor.shape, size, expected)
                start = end
        if start != len(body):
            raise BodyError(f"{len(body) - start} bytes are left after the inputs' binary data")
        return arrays

    def _request(self, head: Head, inputs: dict[str, Array]) -> InferRequest:
        if len(inputs) < len(self._expected):
            self._check_complete(inputs)
        outputs = head.outputs
        requested = None if not outputs else self._requested(outputs)
        parameters = head.parameters
        if not parameters:
            return InferRequest(inputs, head.id, requested)
        return InferRequest(
            inputs,
            head.id,
            requested,
            _flag(parameters, "binary_data_output"),
            _count(parameters, "priority"),
            _count(parameters, "timeout") or None,
            {name: value for name, value in parameters.items() if name not in _OWN},
        )

    def _check_complete(self, inputs: dict[str, Array]) -> None:
        for spec in self._signature.inputs:
            if spec.name not in inputs:
                expected = self._expected[spec.name]
                raise InputError(f"input '{spec.name}' ({expected}) is missing; {self._known()}")

    def _requested(self, outputs: list[OutputTensor]) -> tuple[RequestedOutput, ...]:
        found: dict[str, RequestedOutput] = {}
        for output in outputs:
            if output.name not in self._outputs:
                raise InputError(unexpected_output(output.name, self._model_name))
            if output.name in found:
                raise InputError(f"output '{output.name}' is asked for twice")
            found[output.name] = _requested_output(output)
        return tuple(found.values())

    def _known(self) -> str:
        names = ", ".join(f"'{name}'" for name in self._expected)
        return f"this model's inputs: {names or 'none'}"


def decode_infer(
    body: bytes, header_length: int | None, signature: Signature, model_name: str = ""
) -> InferRequest:
    """``RequestDecoder.decode`` for who does not keep one."""
    return _decoder(signature, model_name).decode(body, header_length)


def unexpected_output(name: str, model_name: str) -> str:
    """Triton's words for it."""
    return f"unexpected inference output '{name[:100]}' for model '{model_name}'"


@lru_cache(maxsize=64)
def _decoder(signature: Signature, model_name: str) -> RequestDecoder:
    return RequestDecoder(signature, model_name)


def _binary_end(
    tensor: InputTensor, start: int, body_bytes: int, header_length: int | None
) -> int | None:
    """Where the binary data of ``tensor`` ends; None when its data is JSON. Raises BodyError."""
    parameters = tensor.parameters
    if parameters is None or (
        parameters.binary_data_size == -1 and parameters.shared_memory_region is None
    ):
        if not tensor.data:
            raise BodyError(f"input '{tensor.name}' has neither data nor binary_data_size")
        return None
    if parameters.shared_memory_region is not None:
        raise BodyError(f"input '{tensor.name}': {NO_SHARED_MEMORY}")
    if tensor.data:
        raise BodyError(f"input '{tensor.name}' has both data and binary_data_size")
    size = parameters.binary_data_size
    if header_length is None:
        raise BodyError(
            f"input '{tensor.name}' is binary data: the header Inference-Header-Content-Length "
            "must say where it starts"
        )
    if not 0 <= size <= body_bytes - start:
        raise BodyError(
            f"input '{tensor.name}': binary_data_size is {size}, "
            f"but {body_bytes - start} bytes are left"
        )
    return start + size


def _requested_output(output: OutputTensor) -> RequestedOutput:
    parameters = output.parameters
    if parameters is None:
        return RequestedOutput(output.name)
    if parameters.shared_memory_region is not None:
        raise InputError(f"output '{output.name}': {NO_SHARED_MEMORY}")
    if parameters.classification < 0:
        raise InputError(f"output '{output.name}': classification must be 1 or more")
    return RequestedOutput(output.name, parameters.binary_data, parameters.classification)


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if type(value) is not bool:
        raise BodyError(f"parameter '{name}' must be true or false")
    return value


def _count(parameters: dict[str, Any], name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value < MAX_MICROSECONDS:
        raise BodyError(f"parameter '{name}' must be a whole number, 0 or more")
    return value
