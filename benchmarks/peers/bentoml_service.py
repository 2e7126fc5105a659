# mypy: ignore-errors
"""BentoML with two workers, batching off (its default).

bentoml serve bentoml_service:Scorer --port PORT
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from onnx_model import OnnxModel


@bentoml.service(workers=2, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Scorer:
    """JSON ``{"data": rows}`` at /score; the tensor's bytes at /raw."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    @bentoml.api
    def score(self, data: list) -> dict:
        return self.model.from_rows(data)

    @bentoml.api
    def raw(self, body: Annotated[Path, ContentType("application/octet-stream")], /) -> dict:
        return self.model.from_bytes(body.read_bytes())
