from inference_schema.schema_decorators import input_schema, output_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@input_schema("num", StandardPythonParameterType(3))
@output_schema(StandardPythonParameterType({"double": 6}))
def run(num):
    return {"double": num * 2}
