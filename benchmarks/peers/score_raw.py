# mypy: ignore-errors
"""A score.py that takes the request as it is: the tensor's bytes, or JSON by its content type."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from azureml.contrib.services.aml_request import rawhttp
from onnx_model import OnnxModel


def init():
    """Called once when a worker starts."""
    global model
    model = OnnxModel()


@rawhttp
def run(request):
    """Called with the Flask request."""
    body = request.get_data()
    if request.headers.get("Content-Type") == "application/octet-stream":
        return model.from_bytes(body)
    return model.from_rows(json.loads(body)["data"])
