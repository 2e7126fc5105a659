"""Puts a bundle together with its engine: what the HTTP side needs to know of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoring.azure.config import AzureConfig, read_config
from scoring.bundle import Bundle
from scoring.config import ServerConfig, cores
from scoring.dispatcher import Dispatcher
from scoring.errors import BundleError
from scoring.model_engine import ModelEngine, Tensors
from scoring.onnx_engine import OnnxEngine
from scoring.script_engine import ScriptEngine
from scoring.script_request import ScriptReply, ScriptRequest


@dataclass(frozen=True)
class ScriptService:
    """A score.py in worker processes."""

    engine: ScriptEngine
    dispatcher: Dispatcher[ScriptRequest, ScriptReply]
    azure: AzureConfig


@dataclass(frozen=True)
class ModelService:
    """A model without user code, in this process."""

    name: str
    version: int
    engine: ModelEngine
    dispatcher: Dispatcher[Tensors, Tensors]


Service = ScriptService | ModelService


def bundle_service(bundle: Bundle, config: ServerConfig, environ: Mapping[str, str]) -> Service:
    """The service of an opened bundle. Raises BundleError when its engine is not known here."""
    if bundle.file.engine == "script":
        return script_service(_script_environment(bundle, environ), config)
    if bundle.file.engine == "onnx":
        return _model_service(bundle, config)
    raise BundleError(
        f"the bundle wants the engine '{bundle.file.engine}', which is not installed here"
    )


def script_service(environ: Mapping[str, str], config: ServerConfig) -> ScriptService:
    """A service for the script that AZUREML_ENTRY_SCRIPT names in ``environ``."""
    azure = read_config(environ)
    engine = ScriptEngine(
        {"ORT_DISABLE_TELEMETRY": "1", **environ},
        workers=config.workers or 1,
        timeout_ms=azure.scoring_timeout_ms,
    )
    return ScriptService(engine, Dispatcher(engine, queue_limit=config.limits.queue), azure)


def _model_service(bundle: Bundle, config: ServerConfig) -> ModelService:
    path = bundle.model_file
    if path is None:
        raise BundleError(f"the bundle '{bundle.file.name}' has no model file to load")
    engine = ModelEngine(lambda: OnnxEngine.load(path), threads=config.workers or cores())
    dispatcher: Dispatcher[Tensors, Tensors] = Dispatcher(engine, queue_limit=config.limits.queue)
    return ModelService(bundle.file.name, bundle.file.version, engine, dispatcher)


def _script_environment(bundle: Bundle, environ: Mapping[str, str]) -> dict[str, Any]:
    """Points the variables that Azure scripts read into the bundle (design.md, section 4)."""
    script = bundle.file.entry_script
    if script is None:
        raise BundleError(f"the bundle '{bundle.file.name}' names no entry script")
    return {
        **environ,
        "AZUREML_MODEL_DIR": os.fspath(bundle.model_dir),
        "AZUREML_ENTRY_SCRIPT": script,
        "AML_APP_ROOT": os.fspath(bundle.code_dir),
    }
