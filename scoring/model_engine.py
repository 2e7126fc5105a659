"""The engine of a model without user code: it runs in this process.

What is quick runs on the event loop itself, which saves two thread switches; what takes longer than
INLINE_S runs on one thread, so that health and reading never wait for it. Its cost is measured
before the first request; where rows come in many sizes, which a count of rows says nothing of, only
what is about as large as something that was quick is taken to be.

A model may live outside of this process and be lost (MortalModel): then what waits goes on waiting
for a while, and whoever asks is told the truth.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from scoring import rows
from scoring.cost import CostModel, ladder
from scoring.engine import Merging
from scoring.errors import EngineError, EngineLostError, ModelLoadError, ScoringError
from scoring.rows import Tensors
from scoring.signature import Signature

INLINE_S = 0.002
"""Longest run on the event loop: GET / is to answer in less than 5 ms with every place busy."""
WARM_UP_S = 0.15
"""About how long the measuring before the first request may take."""
WARM_UP_ROUNDS = 3
FREE_SIZES = (1, 8, 64)
"""Tried for inner dimensions of free size: convolutions refuse what is smaller than they are."""


class LoadedModel(Protocol):
    """A model that answers in the calling thread."""

    @property
    def signature(self) -> Signature:
        """Names, dtypes and shapes of inputs and outputs."""

    def run(self, inputs: Tensors) -> Tensors:
        """Outputs by name. Raises InputError or EngineError, one line without paths."""

    def close(self) -> None:
        """Free the model; idempotent."""


class MortalModel(LoadedModel, Protocol):
    """One that lives in another process or on a board, and can be lost and come back. Its ``close``
    may be called while ``run`` goes on in another thread, which then ends."""

    @property
    def broken(self) -> str | None:
        """Why it cannot answer now, one line for anybody; None while it can."""

    @property
    def is_coming_back(self) -> bool:
        """While it is broken: whether requests shall wait for it rather than be refused."""

    @property
    def restarts(self) -> int:
        """How often it had to be brought back."""

    def watch(self, on_change: Callable[[], None]) -> None:
        """``on_change()`` is called, in any thread, whenever one of these may have changed; before
        ``run`` raises EngineLostError."""


class Answered(Mapping[str, Any]):
    """The outputs of one request: all of a run, or its rows of a merged one. ``batch`` is shared by
    all requests of the run, so that whoever encodes them can do it for all at once."""

    __slots__ = ("batch", "index", "start", "stop")

    def __init__(self, batch: BatchOutputs, index: int, start: int, stop: int) -> None:
        self.batch = batch
        self.index = index
        self.start = start
        self.stop = stop

    def __getitem__(self, name: str) -> Any:
        value = self.batch.outputs[name]
        return value if len(self.batch.counts) == 1 else value[self.start : self.stop]

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.outputs)

    def __len__(self) -> int:
        return len(self.batch.outputs)


class BatchOutputs:
    """What one run gave: ``outputs`` by name, and the rows that each request has of it."""

    __slots__ = ("counts", "encoded", "nbytes", "outputs")

    def __init__(self, outputs: Tensors, counts: Sequence[int]) -> None:
        self.outputs = outputs
        self.counts = counts
        self.nbytes = sum(getattr(value, "nbytes", 0) for value in outputs.values())
        self.encoded: dict[str, Any] = {}
        """Whatever encoders have made of the whole run, by the encoder's name."""

    def answers(self) -> list[Answered]:
        """One for each request."""
        answers, start = [], 0
        for index, count in enumerate(self.counts):
            answers.append(Answered(self, index, start, start + count))
            start += count
        return answers


class ModelEngine:
    """Runs ``load()``'s model, one batch at a time."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        *,
        cost: CostModel | None = None,
        max_batch: int = 32,
        split_rows: int | None = None,
        inline_s: float = INLINE_S,
    ) -> None:
        self._load = load
        self._cost = CostModel() if cost is None else cost
        self._max_batch = max_batch
        self._split_rows = split_rows
        self._inline_s = inline_s
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._model: LoadedModel | None = None
        # Attributes, as they are read for every request and seldom change.
        self.is_loaded = False
        """Between start() and close()."""
        self.slots = 0
        """One, once the model is loaded: its threads belong to one run. None while it is lost."""
        self.ready = False
        """Whether the model is loaded and there."""
        self.broken: str | None = None
        """Never set where the model lives in this process: what loaded stays."""
        self.trouble: str | None = None
        """Why it is not ready, also while it is expected back."""
        self._merging = Merging(False, "the model is not loaded")
        self._is_sized = False
        self._quick_size = 0.0

    def __repr__(self) -> str:
        return f"<ModelEngine ready={self.ready} merging={self._merging.allowed}>"

    @property
    def signature(self) -> Signature:
        """The model's signature; only after start()."""
        assert self._model is not None
        return self._model.signature

    @property
    def restarts(self) -> int:
        """How often the model had to be brought back."""
        return getattr(self._model, "restarts", 0)

    @property
    def merging(self) -> Merging:
        """Found out when the model was loaded."""
        return self._merging

    async def start(self, on_change: Callable[[], None]) -> None:
        """Load, prove what can be merged, warm up and measure. Raises ModelLoadError."""
        loop = asyncio.get_running_loop()
        model = self._model = await loop.run_in_executor(self._pool, self._loaded)
        self._look()
        watch: Callable[[Callable[[], None]], None] | None = getattr(model, "watch", None)
        if watch is not None:

            def look() -> None:
                self._look()
                on_change()

            def changed() -> None:
                with suppress(RuntimeError):  # the loop has been closed meanwhile
                    loop.call_soon_threadsafe(look)

            watch(changed)
            self._look()  # what has happened before it was watched
        on_change()

    def run(
        self, batch: Sequence[Tensors], done: Callable[[Sequence[Answered | ScoringError]], None]
    ) -> None:
        """On the loop when it is expected to be quick, else on the thread."""
        counts = [rows.rows_of(item) for item in batch]
        size = sum(map(rows.size_of, batch)) if self._is_sized else 0.0
        is_quick = self._cost.known and self._cost.seconds(sum(counts)) <= self._inline_s
        if is_quick and size <= self._quick_size:
            done(self._timed(batch, counts, size))
            return
        loop = asyncio.get_running_loop()

        def finished(future: Future[Sequence[Answered | ScoringError]]) -> None:
            if not future.cancelled():
                with suppress(RuntimeError):  # the loop has been closed meanwhile
                    loop.call_soon_threadsafe(done, future.result())

        self._pool.submit(self._timed, batch, counts, size).add_done_callback(finished)

    async def close(self) -> None:
        """Free the model once what runs has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        model, self._model = self._model, None
        self._look()
        if model is None:
            return
        if hasattr(model, "watch"):  # it takes a moment to end
            await asyncio.get_running_loop().run_in_executor(None, model.close)
        else:
            model.close()

    def _look(self) -> None:
        """See how the model is. In the loop's thread."""
        model = self._model
        self.is_loaded = model is not None
        self.trouble = getattr(model, "broken", None)
        self.ready = self.is_loaded and self.trouble is None
        self.slots = int(self.ready)
        is_hopeful = self.trouble is None or getattr(model, "is_coming_back", False)
        self.broken = None if is_hopeful else self.trouble

    def _timed(
        self, batch: Sequence[Tensors], counts: Sequence[int], size: float
    ) -> Sequence[Answered | ScoringError]:
        if not size:
            return self._answers(batch, counts)
        started = time.perf_counter()
        answers = self._answers(batch, counts)
        took_s = time.perf_counter() - started
        if took_s > 2 * self._inline_s:  # a little more may be noise
            self._quick_size = min(self._quick_size, size / 2)
        elif took_s <= self._inline_s:
            self._quick_size = max(self._quick_size, 2 * size)
        return answers

    def _answers(
        self, batch: Sequence[Tensors], counts: Sequence[int]
    ) -> Sequence[Answered | ScoringError]:
        """Never raises. A batch that fails is run again item by item: the bad one fails alone."""
        model = self._model
        if model is None:
            return [EngineError("the model is closed")] * len(batch)
        try:
            if len(batch) == 1:
                return BatchOutputs(self._whole(model, batch[0], counts[0]), counts).answers()
            if len(batch[0]) == len(model.signature.inputs):
                outputs = model.run(rows.merged(batch))
                if rows.fits(outputs, sum(counts)):
                    return BatchOutputs(outputs, counts).answers()
            # else they bring weights (an optional input), which have no rows to put together
        except EngineLostError as error:
            return [error] * len(batch)
        except ScoringError as error:
            if len(batch) == 1:
                return [error]
        except Exception as error:
            if len(batch) == 1:
                return [EngineError(f"internal error: {type(error).__name__}")]
        answers: list[Answered | ScoringError] = []
        for item, count in zip(batch, counts, strict=True):
            answers += self._answers([item], [count])
        return answers

    def _whole(self, model: LoadedModel, inputs: Tensors, count: int) -> Tensors:
        """One request: as it is, or in pieces of ``split_rows`` where that was asked for."""
        size = self._split_rows
        if size is None or count <= size or not self._merging.allowed:
            return model.run(inputs)
        pieces = [
            model.run({name: value[start : start + size] for name, value in inputs.items()})
            for start in range(0, count, size)
        ]
        return rows.merged(pieces)

    def _loaded(self) -> LoadedModel:
        model = self._load()
        try:
            self._merging = prove(model)
            self._is_sized = any(
                spec.shape is None or spec.dtype == "string" for spec in model.signature.inputs
            ) or has_free_sizes(model.signature)
            self._measure(model)
        except EngineLostError as error:  # else it would be slow, or worse, until the next start
            model.close()
            raise ModelLoadError(str(error)) from error
        return model

    def _measure(self, model: LoadedModel) -> None:
        """Fit the cost on made-up batches, for about WARM_UP_S; not of a model whose rows come in
        many shapes, of which one made up says nothing."""
        if has_free_sizes(model.signature):
            return
        began = time.perf_counter()
        limit = self._max_batch if self._merging.allowed else 1
        for count in ladder(limit):
            inputs = _made_up(model.signature, count, seed=count)
            for attempt in range(1 + WARM_UP_ROUNDS):
                started = time.perf_counter()
                try:
                    if inputs is None:
                        return
                    model.run(inputs)
                except EngineLostError:
                    raise
                except ScoringError:
                    return
                now = time.perf_counter()
                if attempt > 0 or now - began > WARM_UP_S:  # the first allocates
                    self._cost.observe(count, now - started)
                if now - began > WARM_UP_S:
                    break
            # The next is expected to take twice as long as this one did.
            if time.perf_counter() - began + 2 * self._cost.seconds(count) > WARM_UP_S:
                return


def prove(model: LoadedModel) -> Merging:
    """Whether the model is row by row: three made-up rows together and each alone."""
    reason = rows.obstacle(model.signature)
    if reason is not None:
        return Merging(False, reason)
    sizes = FREE_SIZES if has_free_sizes(model.signature) else FREE_SIZES[:1]
    for free in sizes:
        inputs = _made_up(model.signature, 3, seed=0, free=free)
        if inputs is None:
            return Merging(False, "there are no values to try it with")
        try:
            return _compared(model, inputs)
        except EngineLostError:
            raise
        except ScoringError:
            continue
    return Merging(False, "it fails on made-up values, so nothing could be tried")


def _compared(model: LoadedModel, inputs: Tensors) -> Merging:
    together = model.run(inputs)
    if not rows.fits(together, 3):
        return Merging(False, "an output has not one entry for each row")
    for row in range(3):
        part = slice(row, row + 1)
        alone = model.run({name: value[part] for name, value in inputs.items()})
        if not rows.same(alone, {name: value[part] for name, value in together.items()}):
            return Merging(False, "a row's outputs depend on the other rows")
    return Merging(True, "three rows gave the same together and alone")


def has_free_sizes(signature: Signature) -> bool:
    """Whether a row of an input can have more than one shape."""
    return any(not isinstance(dim, int) for s in signature.inputs for dim in (s.shape or ())[1:])


def _made_up(signature: Signature, count: int, seed: int, free: int = 1) -> dict[str, Any] | None:
    made = {spec.name: rows.made_up(spec, count, seed, free=free) for spec in signature.inputs}
    return None if any(value is None for value in made.values()) else made
