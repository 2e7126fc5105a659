from __future__ import annotations

import tomllib
from pathlib import Path

from registry import dependencies
from registry.dependencies import read_requirements, server_pins, server_requirements
from registry.dependencies.pins import pins_json
from registry.dependencies.server import PINS_FILE
from registry.dependencies.standards import parse_requirement

ROOT = Path(__file__).parents[3]


def names(requirements: list[str]) -> set[str]:
    return {parse_requirement(text).name for text in requirements}


def test_the_server_needs_what_its_extras_declare() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    server = names(extras["scoring"]) | {"msgspec"}
    assert names(server_requirements(has_script=False, has_onnx=False)) == server
    assert names(server_requirements(has_script=False, has_onnx=True)) == server | names(
        extras["onnx"]
    )
    assert names(server_requirements(has_script=True, has_onnx=True)) == server | names(
        extras["onnx"]
    ) | names(extras["azure"])


def test_markers_stay_without_their_extra() -> None:
    found = {text for text in server_requirements(True, True) if ";" in text}
    assert found
    assert not any("extra" in text for text in found)
    assert any(text.startswith("uvloop") and "linux" in text for text in found)
    assert read_requirements("\n".join(found)).requirements


def test_the_pins_are_those_of_requirements_serve() -> None:
    """``python -m registry.dependencies.pins`` writes them anew, as scripts/lock does."""
    locked = (ROOT / "requirements/serve.txt").read_text()
    file = ROOT / "registry/dependencies" / PINS_FILE
    assert file.read_text() == pins_json(locked)
    needed = names(server_requirements(True, True))
    assert needed <= {name.replace("_", "-") for name in server_pins()}


def test_the_exports_are_there() -> None:
    assert sorted(dependencies.__all__) == list(dependencies.__all__)
    assert all(hasattr(dependencies, name) for name in dependencies.__all__)
