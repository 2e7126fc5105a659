"""Which engine a bundle names, found where it runs: nobody else knows what it needs.

engine = find("fpga.engine:FpgaEngine")          # raises BundleError, saying what is missing
model = engine.load(path, threads=1)

A class that is named like this has ``load(path, *, threads=None) -> LoadedModel`` and may say
``is_exclusive = True``: one process at most can have it, as it holds a board. Then there is one
server process, and a reload ends it before the next one loads. ``platform`` is what clients of the
Open Inference Protocol are told (default: the class's name).

The supervisor imports such a class, before it forks: its module must start no threads.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scoring.errors import BundleError

if TYPE_CHECKING:  # numpy must not be imported before serve() has told it to start no threads
    from scoring.model_engine import LoadedModel

ONNX, SCRIPT = "onnx", "script"
PLATFORM = "onnxruntime_onnx"
_NAME = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)", re.ASCII)


class Load(Protocol):
    """Loads a model's entry file. Raises ModelLoadError, or EngineStartError where the engine
    cannot be had at all."""

    def __call__(self, path: Path, *, threads: int | None = None) -> LoadedModel: ...


@dataclass(frozen=True, slots=True)
class ModelEngineKind:
    """An engine by its name in bundle.json. ``is_ours``: quick runs may be on the event loop, as it
    computes in this process and never waits for anything."""

    name: str
    load: Load
    is_exclusive: bool = False
    is_ours: bool = False
    platform: str = ""
    """What the Open Inference Protocol calls it."""


def find(name: str) -> ModelEngineKind:
    """The engine ``name``: "onnx" or "module:Class", which is imported. Raises BundleError."""
    if name == ONNX:
        from scoring.onnx_engine import OnnxEngine

        return ModelEngineKind(name, OnnxEngine.load, is_ours=True, platform=PLATFORM)
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise BundleError(
            f"bundle.json names the engine '{name[:100]}': it is onnx, script or module:Class"
        )
    found = getattr(_module(name, matched[1]), matched[2], None)
    load = getattr(found, "load", None)
    if not callable(load):
        raise BundleError(
            f"the bundle wants the engine '{name}', which does not exist in its module"
        )
    platform = str(getattr(found, "platform", matched[2]))
    return ModelEngineKind(
        name, load, bool(getattr(found, "is_exclusive", False)), platform=platform
    )


def _module(name: str, module: str) -> Any:
    wants = f"the bundle wants the engine '{name}', which"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise BundleError(
                f"{wants} is not installed here: install the package that has '{module}' into this"
                " server's Python"
            ) from error
        raise BundleError(
            f"{wants} needs '{missing}': install that into this server's Python"
        ) from error
    except Exception as error:  # whatever its module does when it is imported
        raise BundleError(f"{wants} cannot be imported: {type(error).__name__}") from error
