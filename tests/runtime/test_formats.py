"""``--allow-pickle`` and ``inferry registry formats``."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from registry import Workspace
from runtime.cli.main import run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace.init(tmp_path / ".inferry", base="none")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
    (tmp_path / "raw.bin").write_bytes(b"\x00\x01" * 100)


def test_a_pickle_is_refused_in_one_line_that_says_how_to_take_it(capsys: Captured) -> None:
    assert run(["model", "register", "model.pkl", "--name", "m"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "inferry: 'model.pkl' is by its name a pickle, and can run any code when it is opened;"
        " export the model to ONNX or safetensors, or say --allow-pickle if you trust where it"
        " came from"
    ]
    assert run(["model", "register", "model.pkl", "--name", "m", "--allow-pickle"]) == 0
    capsys.readouterr()
    assert run(["model", "show", "m"]) == 0
    assert "inferry.pickle=model.pkl: by its name a pickle" in capsys.readouterr().out


def test_the_workspace_has_a_policy(capsys: Captured) -> None:
    assert run(["registry", "formats", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pickle": "refused", "unknown": "allowed"}
    assert run(["registry", "formats", "--allow", "pickle", "--refuse", "unknown"]) == 0
    capsys.readouterr()
    assert run(["model", "register", "model.pkl", "--name", "m"]) == 0
    assert run(["model", "register", "raw.bin", "--name", "r"]) == 1
    assert "inferry registry formats" in capsys.readouterr().err
    assert run(["registry", "formats", "--refuse", "pickle", "--allow", "unknown"]) == 0
    assert run(["model", "register", "model.pkl", "--name", "m"]) == 1
    assert run(["model", "register", "raw.bin", "--name", "r"]) == 0
    assert run(["registry", "formats", "--allow", "pickle", "--refuse", "pickle"]) == 2
    assert run(["registry", "formats", "-w", "https://elsewhere/w", "--allow", "pickle"]) == 1
