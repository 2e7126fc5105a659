"""Trains a classifier of handwritten digits and exports it to ONNX.

    python examples/digits/train.py OUT_DIR

writes OUT_DIR/model.onnx (input ``pixels``: float32 [N, 64], 0 white to 16 black; outputs ``label``
and ``probabilities``) and OUT_DIR/held_out.json, the digits that training never saw. The data is
scikit-learn's: 1797 digits written by 43 people, which comes with the package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler


def train(out_dir: Path) -> float:
    """Writes the model and the held-out digits; returns the accuracy on these."""
    pixels, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels, test_size=360, random_state=7, stratify=labels
    )
    model = make_pipeline(
        MinMaxScaler(),
        MLPClassifier(hidden_layer_sizes=(64,), alpha=0.1, max_iter=1000, random_state=7),
    )
    model.fit(train_x, train_y)

    onnx_model = to_onnx(
        model,
        initial_types=[("pixels", FloatTensorType([None, 64]))],
        options={"zipmap": False},  # probabilities as one tensor, not as a list of dicts
        target_opset=18,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "model.onnx").write_bytes(onnx_model.SerializeToString())
    held_out = {"pixels": test_x.astype(int).tolist(), "labels": test_y.tolist()}
    (out_dir / "held_out.json").write_text(json.dumps(held_out))
    return float(model.score(test_x, test_y))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/digits/train.py OUT_DIR")
    accuracy = train(Path(sys.argv[1]))
    print(f"trained: accuracy {accuracy:.3f} on 360 held-out digits")
