import numpy as np
from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType

def init():
    pass

@input_schema("data", NumpyParameterType(np.array([[1.0, 2.0, 3.0]], dtype=np.float32), enforce_shape=False))
@output_schema(NumpyParameterType(np.array([6.0])))
def run(data):
    return {"sums": data.sum(axis=-1).tolist(), "dtype": str(data.dtype), "shape": list(data.shape)}
