from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@input_schema("num", StandardPythonParameterType(3))
def run(num, request_headers):
    return [num, request_headers["Content-Type"], request_headers.get("X-Multi")]
