"""Saves the digits model as MLflow does: python mlflow_model.py sklearn|onnx MODEL.onnx OUT.

The flavours ask for different packages; MLflow writes which into OUT/requirements.txt.
"""

# mypy: ignore-errors

import sys

import mlflow.onnx
import mlflow.sklearn
import onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

flavour, path, out = sys.argv[1:]
if flavour == "onnx":
    mlflow.onnx.save_model(onnx.load(path), out)
else:
    model = make_pipeline(MinMaxScaler(), MLPClassifier((64,), alpha=0.1, max_iter=1000))
    model.fit(*load_digits(return_X_y=True))
    trusted = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]
    mlflow.sklearn.save_model(model, out, skops_trusted_types=trusted)
