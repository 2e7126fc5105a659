"""Puts what is served together with its engines: a score.py, or one or more models without one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from scoring.azure.config import AzureConfig, read_config
from scoring.bundle import Bundle
from scoring.codec import ModelCodec
from scoring.config import ServerConfig
from scoring.cost import CostModel
from scoring.dispatcher import Dispatcher, Observer, Recorder
from scoring.engines import PLATFORM, ModelEngineKind, find
from scoring.engines import SCRIPT as SCRIPT_ENGINE
from scoring.errors import BundleError
from scoring.metrics import Ledger
from scoring.model_engine import INLINE_S, Answered, ModelEngine
from scoring.policy import DEFAULT_MAX_BATCH
from scoring.quarantine import Died, Quarantine, Survived
from scoring.recorder import RecorderParts
from scoring.repository import ModelRepository
from scoring.rows import Tensors
from scoring.script.script_engine import ScriptEngine
from scoring.script.script_request import ScriptReply, ScriptRequest

SCRIPT = "score"
"""What metrics call a script."""


class ModelService:
    """A model without user code, in this process."""

    def __init__(
        self,
        name: str,
        version: int,
        engine: ModelEngine,
        dispatcher: Dispatcher[Tensors, Answered],
        *,
        platform: str = PLATFORM,
        filename: str = "model.onnx",
    ) -> None:
        self.name = name
        self.version = version
        self.platform = platform
        self.filename = filename
        self.engine = engine
        self.dispatcher = dispatcher
        self.aside = threading.Lock()
        self.key = f"{name}:{version}"
        self.mark = self.key.encode()
        """What metrics call it."""

    def __repr__(self) -> str:
        return f"<ModelService {self.key} ready={self.engine.ready}>"

    @cached_property
    def aside_codec(self) -> ModelCodec:
        """The same for threads, one at a time: hold ``aside``."""
        return ModelCodec(self.engine.signature, self.name, str(self.version))

    @cached_property
    def codec(self) -> ModelCodec:
        """Reads and writes its tensors; only once the engine is ready."""
        return ModelCodec(self.engine.signature, self.name, str(self.version))


@dataclass(frozen=True)
class ScriptService:
    """A score.py in worker processes."""

    engine: ScriptEngine
    dispatcher: Dispatcher[ScriptRequest, ScriptReply]
    azure: AzureConfig
    key: str = SCRIPT


@dataclass(frozen=True)
class Shared:
    """What all services of one process use."""

    config: ServerConfig
    ledger: Ledger
    quarantine: Quarantine
    recorder: Recorder | None = None
    threads: int = 1
    """Threads of a run: onnxruntime's, or another engine's."""
    workers: int = 1
    """Script workers of this process."""
    tell: Callable[[Died | Survived], None] | None = None
    """Tells the other processes of an input that killed a worker, or did not."""
    inline_s: float = INLINE_S
    """Longest run of a model on the event loop itself; engines of others never run there."""


class LedgerObserver(Observer):
    """Counts what a dispatcher does under its model's name."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger = ledger
        self.key = key
        ledger.register(key)

    def ran(self, rows: int, queue_s: Sequence[float], compute_s: float, failed: int) -> None:
        """A batch has come back; ``failed`` of its requests have no answer."""
        self._ledger.ran(self.key, rows, queue_s, compute_s, failed)

    def rejected(self, reason: Any) -> None:
        """A request was not run."""
        self._ledger.rejected(self.key, reason)

    def failed(self, kind: str) -> None:
        """A request failed in the engine."""
        self._ledger.failed(self.key, _FAILURES.get(kind, "error"))  # type: ignore[arg-type]


_FAILURES = {
    "WorkerDiedError": "died",
    "EngineLostError": "died",
    "QuarantinedError": "died",
    "RunTimeoutError": "timeout",
}


def bundle_service(
    bundle: Bundle, shared: Shared, environ: Mapping[str, str]
) -> ScriptService | ModelRepository[ModelService]:
    """What ``bundle`` serves, not started yet. Raises BundleError and ConfigError."""
    if bundle.file.engine == SCRIPT_ENGINE:
        return script_service(_script_environment(bundle, environ), shared)
    return repository(bundle, shared)


def script_service(environ: Mapping[str, str], shared: Shared) -> ScriptService:
    """A service for the script that AZUREML_ENTRY_SCRIPT names in ``environ``."""
    azure = read_config(environ)
    engine = ScriptEngine(
        {"ORT_DISABLE_TELEMETRY": "1", **environ},
        workers=shared.workers,
        timeout_ms=azure.scoring_timeout_ms,
    )
    dispatcher: Dispatcher[ScriptRequest, ScriptReply] = Dispatcher(
        engine,
        queue_limit=shared.config.limits.queue,
        max_batch=shared.config.batching.max_batch,
        observer=LedgerObserver(shared.ledger, SCRIPT),
        quarantine=shared.quarantine,
        tell=shared.tell,
    )
    return ScriptService(engine, dispatcher, azure)


def repository(bundle: Bundle, shared: Shared) -> ModelRepository[ModelService]:
    """All models of a bundle that have a file to load; the first one is what /score asks. Raises
    BundleError."""
    kind = find(bundle.file.engine)
    batching = shared.config.batching
    max_batch = batching.max_batch or bundle.file.max_batch or DEFAULT_MAX_BATCH

    parts = None
    if shared.recorder is not None and len(bundle.file.models) > 1:
        parts = RecorderParts(shared.recorder)

    def make(name: str, version: int, path: Path) -> ModelService:
        own = shared if parts is None else replace(shared, recorder=parts.part())
        return _model_service(name, version, path, kind, max_batch, own)

    def maker(name: str, version: int, path: Path) -> Callable[[], ModelService]:
        return lambda: make(name, version, path)

    makers = {
        (model.name, model.version): maker(
            model.name, model.version, bundle.root / model.path / model.entry
        )
        for model in bundle.file.models
        if model.entry is not None
    }
    if not makers:
        raise BundleError(f"the bundle '{bundle.file.name}' has no model file to load")
    if kind.is_exclusive and len(makers) > 1:
        raise BundleError(
            f"the bundle '{bundle.file.name}' has {len(makers)} models, and '{kind.name}' takes one"
        )
    return ModelRepository(makers, is_exclusive=kind.is_exclusive)


def _model_service(
    name: str, version: int, path: Path, kind: ModelEngineKind, max_batch: int, shared: Shared
) -> ModelService:
    cost = CostModel()
    split = max_batch if shared.config.batching.split_oversize else None
    # What is not ours may wait for a board, and health waits for nobody.
    inline_s = shared.inline_s if kind.is_ours else 0.0
    engine = ModelEngine(
        partial(kind.load, path, threads=shared.threads),
        cost=cost,
        max_batch=max_batch,
        split_rows=split,
        inline_s=inline_s,
    )
    dispatcher: Dispatcher[Tensors, Answered] = Dispatcher(
        engine,
        queue_limit=shared.config.limits.queue,
        cost=cost,
        max_batch=max_batch,
        inline_s=inline_s,
        observer=LedgerObserver(shared.ledger, f"{name}:{version}"),
        recorder=shared.recorder,
        quarantine=shared.quarantine,
        tell=shared.tell,
    )
    if kind.is_ours:
        return ModelService(name, version, engine, dispatcher)
    return ModelService(
        name, version, engine, dispatcher, platform=kind.platform, filename=path.name
    )


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
