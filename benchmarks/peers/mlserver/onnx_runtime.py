# mypy: ignore-errors
"""MLServer's custom runtime for an ONNX model. mlserver start FOLDER, with two parallel workers.

Its REST interface has no binary tensors: JSON only, in the Open Inference Protocol's form.
"""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class OnnxRuntime(MLModel):
    """One input, float32."""

    async def load(self) -> bool:
        self._model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype("float32", copy=False)
        outputs = self._model.from_array(rows)
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name, value) for name, value in outputs.items()],
        )
