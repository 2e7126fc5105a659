"""Trains a small network on handwritten digits, and writes it with what an FPGA image wants.

    python examples/fpga/train.py FOLDER

FOLDER gets digits.onnx (float32, pixels [N, 64] -> logits [N, 10]), calibration.npz (inputs, for
int8), held_out.npz (inputs x and labels y that training never saw), request.json (some of them as
POST /score takes them) and golden.json (two of them, which a device tries before it serves).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

TRAINED, CALIBRATED, ASKED = 1437, 200, 100


def main(folder: Path) -> None:
    """Train, say how good it is, and write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = load_digits()
    pixels, labels = (found.data / 16).astype(np.float32), found.target
    # Only the logits are exported: the largest one is the digit.
    network = MLPClassifier((32,), max_iter=600, alpha=0.1, random_state=0)
    network.fit(pixels[:TRAINED], labels[:TRAINED])
    share = network.score(pixels[TRAINED:], labels[TRAINED:])
    print(
        f"accuracy in float on {len(labels) - TRAINED} digits that training never saw: {share:.3f}"
    )
    onnx.save(exported(network), folder / "digits.onnx")
    np.savez(folder / "calibration.npz", pixels=pixels[:CALIBRATED])
    np.savez(folder / "held_out.npz", x=pixels[TRAINED:], y=labels[TRAINED:])
    asked = pixels[TRAINED : TRAINED + ASKED]
    (folder / "request.json").write_text(json.dumps({"data": asked.tolist()}))
    (folder / "labels.json").write_text(json.dumps(labels[TRAINED : TRAINED + ASKED].tolist()))
    cases = [{"input": {"data": [row]}} for row in asked[:2].tolist()]
    (folder / "golden.json").write_text(json.dumps({"v": 1, "cases": cases}))


def exported(network: MLPClassifier) -> onnx.ModelProto:
    """Gemm, Relu, Gemm."""
    nodes, constants, end = [], [], "pixels"
    layers = list(zip(network.coefs_, network.intercepts_, strict=True))
    for number, (weight, bias) in enumerate(layers, 1):
        for name, values in ((f"w{number}", weight), (f"b{number}", bias)):
            constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        is_last = number == len(layers)
        out = "logits" if is_last else f"sum{number}"
        nodes.append(helper.make_node("Gemm", [end, f"w{number}", f"b{number}"], [out]))
        if not is_last:
            nodes.append(helper.make_node("Relu", [out], [f"hidden{number}"]))
            end = f"hidden{number}"
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]))
