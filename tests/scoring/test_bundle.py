"""Opening bundles, model folders and bare files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoring.bundle import open_bundle
from scoring.errors import BundleError

GOOD = {
    "schema_version": 1,
    "name": "digits",
    "version": 2,
    "engine": "script",
    "entry_script": "score.py",
    "models": [{"name": "m", "version": 7, "path": "models/m/7", "entry": "model.onnx"}],
}


def _bundle(folder: Path, **changes: object) -> Path:
    (folder / "bundle.json").write_text(json.dumps({**GOOD, **changes}))
    return folder


def test_a_bundle_says_where_its_parts_are(tmp_path: Path) -> None:
    bundle = open_bundle(_bundle(tmp_path))
    assert bundle.model_file == tmp_path / "models/m/7/model.onnx"
    assert bundle.model_dir == tmp_path / "models/m/7"
    assert bundle.code_dir == tmp_path / "code"


def test_several_models_share_their_parent_as_model_dir(tmp_path: Path) -> None:
    models = [{"name": n, "version": 1, "path": f"models/{n}/1"} for n in ("a", "b")]
    assert open_bundle(_bundle(tmp_path, models=models)).model_dir == tmp_path / "models"


def test_a_bare_file_and_its_folder_are_the_same_model(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    assert open_bundle(tmp_path) == open_bundle(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema_version": 9}, "schema version 9"),
        ({"models": "none"}, "damaged"),
        ({"entry_script": "../../evil.py"}, "outside the bundle"),
        ({"models": [{"name": "m", "version": 1, "path": "/etc"}]}, "outside the bundle"),
    ],
)
def test_a_bad_description_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(BundleError, match=complaint):
        open_bundle(_bundle(tmp_path, **changes))


def test_what_is_no_bundle_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle\.json and no \.onnx file"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="there is no file or folder"):
        open_bundle(tmp_path / "missing")
    (tmp_path / "a.onnx").touch()
    (tmp_path / "b.onnx").touch()
    with pytest.raises(BundleError, match=r"2 \.onnx files: name the file"):
        open_bundle(tmp_path)
    (tmp_path / "model.pkl").touch()
    with pytest.raises(BundleError, match=r"not an \.onnx file"):
        open_bundle(tmp_path / "model.pkl")
