"""How one model's requests and answers are read and written, in each form that HTTP offers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from scoring import tensors
from scoring.errors import InputError
from scoring.model_engine import Answered
from scoring.oip.expected import Expected
from scoring.oip.infer_request import InferRequest, RequestDecoder
from scoring.oip.infer_response import ResponseEncoder
from scoring.oip.raw_request import read_raw
from scoring.signature import Signature


class ModelCodec:
    """Made once for a loaded model. Not for two threads at a time."""

    def __init__(self, signature: Signature, name: str, version: str) -> None:
        self._signature = signature
        self.read_json = tensors.Decoder(signature).decode
        """Arrays by input name, of a JSON body. Raises InputError."""
        self._name = name
        self._version = version

    def read_raw(self, body: bytes) -> dict[str, Any]:
        """The only input, little-endian and row-major. Raises InputError."""
        expected = self._raw
        if expected is None:
            raise InputError("the model has several inputs: raw bytes can carry one only")
        return {expected.name: read_raw(body, expected)}

    def write_json(self, answered: Answered) -> bytes:
        """The outputs of one request; all requests of a run are written when the first is."""
        batch = answered.batch
        if len(batch.counts) == 1:
            return tensors.encode_response(batch.outputs)
        texts = batch.encoded.get("json")
        if texts is None:
            texts = batch.encoded["json"] = tensors.encode_each(batch.outputs, batch.counts)
        text: bytes = texts[answered.index]
        return text

    def read_infer(self, body: bytes, header_length: int | None) -> InferRequest:
        """An Open Inference Protocol request. Raises InputError."""
        return self._oip[0].decode(body, header_length)

    def write_infer(self, request: InferRequest, answered: Answered) -> tuple[bytes, int | None]:
        """Its answer, and the length of the JSON part when the rest is binary."""
        encoder = self._oip[1]
        if len(answered.batch.counts) == 1:
            return encoder.encode(request, answered.batch.outputs)
        return encoder.encode_rows(request, answered.batch.outputs, answered.start, answered.stop)

    @cached_property
    def _raw(self) -> Expected | None:
        inputs = self._signature.inputs
        return Expected(inputs[0]) if len(inputs) == 1 and not inputs[0].is_sequence else None

    @cached_property
    def _oip(self) -> tuple[RequestDecoder, ResponseEncoder]:
        return (
            RequestDecoder(self._signature, self._name),
            ResponseEncoder(self._name, self._version),
        )
