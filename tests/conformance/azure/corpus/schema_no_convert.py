import numpy as np
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType

def init():
    pass

@input_schema("data", NumpyParameterType(np.array([1, 2])), convert_to_provided_type=False)
def run(data):
    return {"type": type(data).__name__, "data": data}
