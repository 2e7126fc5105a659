"""Loads score.py and calls its init() and run().

The rules and messages are those of azureml-inference-server-http 1.5.1 (server/user_script.py).

    script = load(config)
    script.init()
    answer = script.call(head, body)
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from scoring.azure import alarm, imports, inputs, outputs
from scoring.azure.config import AzureConfig
from scoring.script.frames import ScoreRequest

logger = logging.getLogger("azmlinfsrv.user_script")


class LoadError(Exception):
    """The script cannot serve; ``stage`` is "import", "check" or "init"."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


@dataclass(frozen=True, slots=True)
class EntryScript:
    """A loaded script. ``run`` is the function that is called, maybe a driver module's."""

    mode: str
    run: Callable[..., Any]
    user_init: Callable[[], Any]
    parse: inputs.Parser
    wants_headers: bool
    data: tuple[str, ...]
    """The parameters of run() but ``request_headers``."""
    timeout_ms: int
    run_batch: Callable[[list[Any]], Any] | None = None
    """What stands beside run() under this name, if anything (merging.py)."""

    def init(self) -> None:
        """Call init(). Raises LoadError whatever it raises, SystemExit included."""
        logger.info("Invoking user's init function")
        try:
            self.user_init()
        except BaseException as error:
            raise LoadError("init", f"init() raised {_name(error)}") from error
        logger.info("Users's init has completed successfully")

    def call(self, head: ScoreRequest, body: bytes | bytearray) -> outputs.Answer:
        """Answer one request; never raises."""
        arguments = self.arguments(head, body)
        if isinstance(arguments, outputs.Answer):
            return arguments
        try:
            if self.wants_headers:
                arguments["request_headers"] = inputs.request_headers(head.headers)
            try:
                alarm.start(self.timeout_ms)
                started = time.perf_counter()
                value = self.run(**arguments)
                run_ms = (time.perf_counter() - started) * 1000
            finally:
                alarm.stop()
        except BaseException as error:  # SystemExit too: a script must not end the worker
            return self.failure(error)
        return answer(value, run_ms, head)

    def arguments(
        self, head: ScoreRequest, body: bytes | bytearray
    ) -> inputs.Arguments | outputs.Answer:
        """What to call run() with, or the answer to a request that does not reach it."""
        try:
            return self.parse(head, body)
        except inputs.Refused as refusal:
            return outputs.error(refusal.status, refusal.message)
        except inputs.OtherMethodError:
            if head.method == "OPTIONS":
                return outputs.empty()
            return outputs.error(405, "Method not allowed")
        except Exception:
            logger.exception("Encountered Exception while reading the request")
            return outputs.internal_error()

    def failure(self, error: BaseException) -> outputs.Answer:
        """The answer when run() has raised ``error``."""
        if isinstance(error, TimeoutError):
            what = f"run() took longer than {self.timeout_ms} ms"
            message = f"Scoring timeout after {self.timeout_ms} ms"
        else:
            what, message = "run() failed", outputs.SCRIPT_ERROR
        logger.error("Encountered Exception: %s", what, exc_info=error)
        return outputs.error(500, message, failed=True)


def answer(value: Any, run_ms: float, head: ScoreRequest) -> outputs.Answer:
    """The answer when run() has returned ``value``."""
    try:
        return outputs.of_value(value, run_ms, head)
    except Exception:
        logger.exception("Encountered Exception: what run() returned cannot be sent")
        return outputs.internal_error()


def load(config: AzureConfig) -> EntryScript:
    """Import the script and check its functions. Raises LoadError."""
    _extend_path(config)
    module = _import(config)
    for name in ("init", "run"):
        if not hasattr(module, name):
            raise LoadError(
                "check",
                f"User script at {module.__file__} does not have a {name}() function defined.",
            )
    inner = getattr(module, "driver_module", None)
    if isinstance(inner, ModuleType) and hasattr(inner, "run"):
        logger.info(
            "Found driver script at %s and the score script at %s", module.__file__, inner.__file__
        )
        return _analyze(inner, module.init, config.scoring_timeout_ms)
    logger.info("Found user script at %s", module.__file__)
    return _analyze(module, module.init, config.scoring_timeout_ms)


def _extend_path(config: AzureConfig) -> None:
    folders = [config.app_root]
    if config.source_dir:
        folders.append(os.path.join(config.app_root, config.source_dir))
    for folder in folders:
        hidden = imports.hidden_by_us(folder)
        if hidden is not None:
            raise LoadError(
                "check",
                f"{hidden} cannot be imported: the server has a package called scoring itself. "
                "Rename that module, for example to scoring_code.",
            )
        sys.path.append(folder)


def _import(config: AzureConfig) -> ModuleType:
    try:
        if not config.entry_script:
            return importlib.import_module("main")
        path = os.path.join(config.app_root, config.entry_script)
        spec = importlib.util.spec_from_file_location("entry_module", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except BaseException as error:
        raise LoadError("import", f"the script raised {_name(error)}") from error
    return module


def _analyze(module: ModuleType, init: Callable[[], Any], timeout_ms: int) -> EntryScript:
    run = module.run
    parameters = list(inspect.signature(run).parameters.values())
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if any(parameter.kind not in kinds for parameter in parameters):
        raise LoadError(
            "check", "run() cannot accept positional-only arguments, *args, or **kwargs."
        )
    data = [parameter for parameter in parameters if parameter.name != "request_headers"]
    wants_headers = len(data) < len(parameters)
    if not data:
        wanted = 'other than "request_headers"' if wants_headers else "for input data"
        raise LoadError("check", f"run() needs to accept an argument {wanted}.")
    mode, parse = _mode(run, data)
    names = tuple(parameter.name for parameter in data)
    run_batch = getattr(module, "run_batch", None)
    return EntryScript(mode, run, init, parse, wants_headers, names, timeout_ms, run_batch)


def _mode(run: Callable[..., Any], data: list[inspect.Parameter]) -> tuple[str, inputs.Parser]:
    aml_request = sys.modules.get("scoring.azure.aml_request")
    is_raw = aml_request is not None and aml_request._rawHttpRequested
    schemas = sys.modules.get("inference_schema.schema_util")
    is_object = schemas is not None and schemas.is_schema_decorated(run)
    if is_raw and is_object:
        raise LoadError("check", "run() cannot be decorated with both @rawhttp and @input_schema")
    if is_raw:
        logger.info(
            "run() is decorated with @rawhttp. Server will invoke it with the request object."
        )
        return "raw", inputs.raw(data[0].name)
    if is_object:
        names = ", ".join(parameter.name for parameter in data)
        logger.info(
            "run() is decorated with @input_schema. "
            "Server will invoke it with the following arguments: %s.",
            names,
        )
        return "object", inputs.objects(data)
    logger.info("run() is not decorated. Server will invoke it with the input in JSON string.")
    return "json-string", inputs.json_string(data[0].name)


def _name(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return " ".join(text.split())
