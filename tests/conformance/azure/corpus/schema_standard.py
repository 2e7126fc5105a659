import datetime
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType

def init():
    pass

@input_schema("name", StandardPythonParameterType("anna"))
@input_schema("weight", StandardPythonParameterType(1.5))
@input_schema("tags", StandardPythonParameterType(["a", "b"]))
@input_schema("when", StandardPythonParameterType(datetime.date(2026, 1, 31)))
@input_schema("flag", StandardPythonParameterType(True))
def run(name, weight, tags, when, flag):
    return {"name": name, "weight": weight, "tags": tags, "when": str(when), "kind": type(when).__name__, "flag": flag}
