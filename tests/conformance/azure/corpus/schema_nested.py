import numpy as np
import pandas as pd
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType

def init():
    pass

sample = {
    "input1": PandasParameterType(pd.DataFrame({"name": ["Sarah"], "age": [3]})),
    "input2": NumpyParameterType(np.array([[1, 2], [3, 4]])),
    "input3": StandardPythonParameterType([1, 2, 3]),
    "plain": "text",
}

@input_schema("inputs", StandardPythonParameterType(sample))
def run(inputs):
    return {name: type(value).__name__ for name, value in inputs.items()}
