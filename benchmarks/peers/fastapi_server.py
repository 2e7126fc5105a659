# mypy: ignore-errors
"""The baseline: what one writes on a first day with FastAPI, the model called inline.

uvicorn fastapi_server:app --workers 2
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from onnx_model import OnnxModel
from pydantic import BaseModel

app = FastAPI()
model = OnnxModel()


class Rows(BaseModel):
    """Rows of the model's one input."""

    data: list


@app.post("/score")
async def score(rows: Rows):
    """JSON in, JSON out."""
    return model.from_rows(rows.data)


@app.post("/typed")
async def typed(rows: Rows) -> dict[str, list]:
    """The same with the answer's type, by which newer FastAPI writes it faster."""
    return model.from_rows(rows.data)


@app.post("/raw")
async def raw(request: Request):
    """The tensor's bytes in, JSON out."""
    return model.from_bytes(await request.body())
