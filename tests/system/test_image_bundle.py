"""What the registry writes, the scoring side opens: the two packages meet on disk only."""

from __future__ import annotations

from pathlib import Path

from registry import Workspace
from scoring.bundle import open_bundle
from tests.registry import onnx_files


def test_an_unpacked_image_opens_as_a_bundle(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    script = tmp_path / "score.py"
    script.write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(onnx_files.adder(tmp_path / "net.onnx"), name="net")
    workspace.images.create("i", models=["net"], script=script)
    bundle = open_bundle(workspace.images.unpack("i", tmp_path / "image"))
    assert bundle.code_dir == tmp_path / "image/code"
    assert (bundle.code_dir / "score.py").is_file()
    assert bundle.model_file == tmp_path / "image/models/net/1/net.onnx"
    assert bundle.model_file.read_bytes() == (tmp_path / "net.onnx").read_bytes()


def test_a_model_s_bundle_opens_without_a_script(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    workspace.models.register(onnx_files.adder(tmp_path / "net.onnx"), name="net")
    bundle = open_bundle(workspace.models.bundle("net", tmp_path / "bundle"))
    assert bundle.model_file == tmp_path / "bundle/models/net/1/net.onnx"
    assert bundle.model_file.is_file()
