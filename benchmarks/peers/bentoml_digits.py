"""A BentoML service of digits; $FLAVOUR says with which library it scores: sklearn or onnx.

bentoml build reads it; what the image installs is FLAVOUR's packages and BentoML's own.
"""

# mypy: ignore-errors

import os

import bentoml
import numpy as np

FLAVOUR = os.environ.get("FLAVOUR", "sklearn")


@bentoml.service
class Digits:
    def __init__(self) -> None:
        self.model = getattr(bentoml, FLAVOUR).load_model("digits:latest")

    @bentoml.api
    def score(self, data: list[list[float]]) -> list[int]:
        return self.model.predict(np.array(data)).tolist()
