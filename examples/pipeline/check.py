"""Fails unless the model is good enough on digits that training never saw.

    python check.py LEAST_ACCURACY

reads model.onnx and held_out.json of the input ``trained``; logs the accuracy.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from runtime.tracking import Run

trained = Path(os.environ["INFERRY_INPUT_TRAINED"])
held_out = json.loads((trained / "held_out.json").read_text())
session = onnxruntime.InferenceSession(trained / "model.onnx")
pixels = np.array(held_out["pixels"], dtype=np.float32)
(said,) = session.run(["label"], {"pixels": pixels})
accuracy = float(np.mean(said == np.array(held_out["labels"])))

with Run("digits") as run:
    run.log("accuracy", accuracy)
print(f"accuracy {accuracy:.3f}, at least {sys.argv[1]} is wanted")
if accuracy < float(sys.argv[1]):
    sys.exit("the model is not good enough")
