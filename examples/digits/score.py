"""Scores handwritten digits; runs unchanged on Azure Machine Learning.

Request: {"data": [[64 numbers from 0 to 16], ...]}
Answer:  {"predictions": [3, ...], "confidence": [0.98, ...]}
"""

import json
import os

import numpy as np
import onnxruntime


def init():
    """Called once when a worker starts: loads the model."""
    global session
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a digit is too small to share between threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(raw_data):
    """Called for each request with its body as text."""
    pixels = np.array(json.loads(raw_data)["data"], dtype=np.float32).reshape(-1, 64)
    labels, probabilities = session.run(["label", "probabilities"], {"pixels": pixels})
    return {
        "predictions": labels.tolist(),
        "confidence": [round(float(p), 4) for p in probabilities.max(axis=1)],
    }
