from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@input_schema("num", StandardPythonParameterType(3))
@input_schema("method", StandardPythonParameterType("sum"), optional=True)
def run(num, method="sum", limit=None):
    return {"num": num, "method": method, "limit": limit}
