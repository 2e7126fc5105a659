from azureml.contrib.services.aml_request import rawhttp
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@rawhttp
@input_schema("num", StandardPythonParameterType(3))
def run(num):
    return num
