import pandas as pd
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType

def init():
    pass

frame = pd.DataFrame({"when": pd.to_datetime(["2026-01-31"]), "value": [1]})

@input_schema("data", PandasParameterType(frame, orient="split", enforce_shape=False))
def run(data):
    return {"columns": list(data.columns), "sum": int(data["value"].sum())}
