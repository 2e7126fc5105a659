import pandas as pd
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType

def init():
    pass

@input_schema("data", PandasParameterType(pd.DataFrame({"state": ["WA"], "people": [7], "rate": [0.5]})))
def run(data):
    return {"columns": list(data.columns), "rows": data.values.tolist(), "dtypes": [str(t) for t in data.dtypes]}
