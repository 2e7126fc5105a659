"""An entry script as Azure users have them: the schema checks and converts the request.

Request: {"pixels": [[64 numbers], ...]}; the decorators also describe it in GET /swagger.json.
"""

import os

import numpy as np
import onnxruntime
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.schema_decorators import input_schema, output_schema


def init():
    """Called once when a worker starts."""
    global session
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@input_schema(
    "pixels", NumpyParameterType(np.zeros((1, 64), dtype=np.float32), enforce_shape=False)
)
@output_schema(NumpyParameterType(np.zeros(1, dtype=np.int64), enforce_shape=False))
def run(pixels):
    """Called for each request with its pixels as an array; an array answers as a list."""
    return session.run(["label"], {"pixels": pixels.astype(np.float32)})[0].tolist()
