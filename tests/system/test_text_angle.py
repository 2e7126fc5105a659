"""PaddleOCR's classifier of upright and upside-down text, as packaged by rapidocr_onnxruntime,
served over HTTP and shown lines of text."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from registry import Workspace
from tests.system.model_server import ModelServer
from tests.system.onnx_nodes import session_of

pytestmark = pytest.mark.slow

Pixels = NDArray[np.float32]
HEIGHT, WIDTH = 48, 192
LINES = (
    "Total 1,299.50",
    "Invoice 2024-117",
    "The quick brown fox",
    "Departure 17:45",
    "Main Street 42",
    "hello world",
    "Serial No. 58210",
    "Platform 9",
    "Please sign here",
    "Fragile glass",
)


@pytest.fixture(scope="module")
def model() -> Path:
    """Found without importing the package, which needs libGL."""
    found = importlib.util.find_spec("rapidocr_onnxruntime")
    assert found is not None
    assert found.origin is not None
    [path] = Path(found.origin).parent.glob("models/*cls*.onnx")
    return path


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("angle")
    workspace = Workspace.init(folder / "workspace", base="none")
    registered = workspace.models.register(model, name="text-angle")
    bundle = workspace.models.bundle(registered.reference, folder / "bundle")
    with ModelServer() as running, running.serving(bundle):
        yield running


def test_most_lines_of_text_are_told_upright_from_upside_down(server: ModelServer) -> None:
    upright = [text_line(text) for text in LINES]
    flipped = [image.rotate(180) for image in upright]
    batch = np.stack([prepared(image) for image in (*upright, *flipped)])
    [scores] = server.outputs({"data": batch.tolist()}).values()
    angles = np.argmax(np.array(scores), axis=1)  # the package's labels: 0 and 180
    expected = np.repeat([0, 1], len(LINES))
    assert np.mean(angles == expected) >= 0.85


def test_the_scores_are_those_that_onnxruntime_gives(server: ModelServer, model: Path) -> None:
    batch = np.stack([prepared(text_line(text)) for text in LINES[:4]])
    session = session_of(os.fspath(model))
    [taken] = session.get_inputs()
    [direct] = session.run(None, {taken.name: batch})
    [scores] = server.outputs({taken.name: batch.tolist()}).values()
    assert np.shape(scores) == direct.shape == (4, 2)
    np.testing.assert_allclose(scores, direct, rtol=1e-4, atol=1e-6)


def text_line(text: str) -> Image.Image:
    """Black text on white, cut to the line."""
    font = ImageFont.load_default(36)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    image = Image.new("RGB", (right - left + 12, bottom - top + 12), "white")
    ImageDraw.Draw(image).text((6 - left, 6 - top), text, fill="black", font=font)
    return image


def prepared(image: Image.Image) -> Pixels:
    """As the package does it: to height 48, at most 192 wide, -1 to 1, padded with 0 (BGR order is
    no matter for black and white)."""
    width = min(WIDTH, math.ceil(HEIGHT * image.width / image.height))
    resized = image.resize((width, HEIGHT), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1)
    padded = np.zeros((3, HEIGHT, WIDTH), dtype=np.float32)
    padded[:, :, :width] = (pixels / 255 - 0.5) / 0.5
    return padded
