"""The engine of a model without user code: it runs in this process, on threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from scoring.errors import EngineError, ScoringError
from scoring.signature import Signature

Tensors = Mapping[str, Any]
"""Values by input or output name: numpy arrays, lists of them for sequences, None for absent."""


class LoadedModel(Protocol):
    """A model that answers in the calling thread; ``run`` may be called from several at a time."""

    @property
    def signature(self) -> Signature:
        """Names, dtypes and shapes of inputs and outputs."""

    def run(self, inputs: Tensors) -> Tensors:
        """Outputs by name. Raises InputError or EngineError, one line without paths."""

    def warm_up(self) -> float | None:
        """Run once on made-up values; seconds, or None where that was not possible."""

    def close(self) -> None:
        """Free the model; idempotent."""


class ModelEngine:
    """Runs ``load()``'s model on up to ``threads`` threads."""

    def __init__(self, load: Callable[[], LoadedModel], *, threads: int) -> None:
        self._load = load
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="model")
        self._model: LoadedModel | None = None

    def __repr__(self) -> str:
        return f"<ModelEngine threads={self._threads} ready={self.ready}>"

    @property
    def signature(self) -> Signature:
        """The model's signature; only after start()."""
        assert self._model is not None
        return self._model.signature

    @property
    def slots(self) -> int:
        """One for each thread once the model is loaded."""
        return self._threads if self._model is not None else 0

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None

    @property
    def broken(self) -> str | None:
        """Never: a model that loaded stays."""
        return None

    async def start(self, on_change: Callable[[], None]) -> None:
        """Load and warm up. Raises ModelLoadError."""
        self._model = await asyncio.get_running_loop().run_in_executor(self._pool, self._loaded)
        on_change()

    async def run(self, batch: Sequence[Tensors]) -> Sequence[Tensors | ScoringError]:
        """Each item by itself, on one thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._run_each, batch)

    async def close(self) -> None:
        """Free the model; running calls are waited for in their threads only."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        model, self._model = self._model, None
        if model is not None:
            model.close()

    def _loaded(self) -> LoadedModel:
        model = self._load()
        model.warm_up()
        return model

    def _run_each(self, batch: Sequence[Tensors]) -> list[Tensors | ScoringError]:
        model = self._model
        if model is None:
            return [EngineError("the model is closed")] * len(batch)
        answers: list[Tensors | ScoringError] = []
        for item in batch:
            try:
                answers.append(model.run(item))
            except ScoringError as error:
                answers.append(error)
        return answers
