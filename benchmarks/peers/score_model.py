# mypy: ignore-errors
"""A score.py as Azure's examples write it: JSON text in, a dict out."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from onnx_model import OnnxModel


def init():
    """Called once when a worker starts."""
    global model
    model = OnnxModel()


def run(raw_data):
    """Called for each request with its body as text."""
    return model.from_rows(json.loads(raw_data)["data"])
