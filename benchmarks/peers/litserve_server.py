# mypy: ignore-errors
"""LitServe with two inference workers and two API processes, batching off (its default).

python litserve_server.py PORT. It reads JSON or forms, no bytes:
these come in base64.
"""

from __future__ import annotations

import base64
import sys

import litserve
from onnx_model import OnnxModel


class Scorer(litserve.LitAPI):
    """JSON ``{"data": rows}``, or ``{"tensor": bytes in base64}``."""

    def setup(self, device: str) -> None:
        self.model = OnnxModel()

    def decode_request(self, request: dict) -> list | bytes:
        return request["data"] if "data" in request else base64.b64decode(request["tensor"])

    def predict(self, rows: list | bytes) -> dict:
        return (
            self.model.from_bytes(rows) if isinstance(rows, bytes) else self.model.from_rows(rows)
        )

    def encode_response(self, output: dict) -> dict:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Scorer(api_path="/score"), accelerator="cpu", workers_per_device=2, timeout=60
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=2,
        log_level="error",
        access_log=False,
        generate_client_file=False,
    )
