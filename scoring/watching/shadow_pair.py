"""A primary and its shadow, as two models or as two scripts: how one is asked what the other was
asked, and how their answers are compared. shadow.py decides which requests, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from scoring.cost import CostModel
from scoring.model_engine import Answered
from scoring.rows import Tensors, key_of
from scoring.script.script_request import ScriptReply, ScriptRequest
from scoring.service import ModelService, ScriptService
from scoring.watching.comparison import Comparison, Verdict, compare, compare_bodies, no_comparison
from scoring.watching.shadow_fit import misfit
from scoring.work import Work

Done = Callable[[Work[Any, Any], Any], None]


class Pair(Protocol):
    """Outcomes and answers are what the two engines answer with; none is a ScoringError."""

    key: str
    """What metrics call the primary."""

    def is_comparable(self, outcome: Any) -> bool:
        """Whether the primary's outcome can be compared with another at all."""

    def submit(self, work: Work[Any, Any], done: Done) -> None:
        """Ask the shadow what ``work`` asked. Raises what Dispatcher.submit raises."""

    def size_bytes(self, outcome: Any, answer: Any) -> float:
        """How much there is to compare, for whether that may be done on the event loop."""

    def compared(self, outcome: Any, answer: Any) -> Comparison:
        """How the answers differ; in any thread."""

    def duration_ratio(
        self, work: Work[Any, Any], outcome: Any, mirrored: Work[Any, Any], answer: Any
    ) -> float | None:
        """The shadow's time divided by the primary's; None when it is not known."""


class ModelPair:
    """What /score asks, and the shadow's first model."""

    def __init__(self, primary: ModelService, shadow: ModelService) -> None:
        self.key = primary.key
        self.misfit = misfit(primary.engine.signature, shadow.engine.signature)
        self._cost = primary.dispatcher.cost
        self._shadow = shadow

    def is_comparable(self, outcome: Answered) -> bool:
        return True

    def submit(self, work: Work[Tensors, Answered], done: Done) -> None:
        merges = self._shadow.engine.merging.allowed
        self._shadow.dispatcher.submit(
            Work(
                work.item,
                done,
                rows=work.rows,
                key=key_of(work.item) if merges else None,
                body=work.body,
            )
        )

    def size_bytes(self, outcome: Answered, answer: Answered) -> float:
        return sum(_nbytes(value) for value in (*outcome.values(), *answer.values()))

    def compared(self, outcome: Answered, answer: Answered) -> Comparison:
        return compare(outcome, answer)

    def duration_ratio(
        self, work: Work[Any, Any], outcome: Any, mirrored: Work[Any, Any], answer: Any
    ) -> float | None:
        if work.batch_rows == mirrored.batch_rows:
            return _ratio(mirrored.run_s, work.run_s)
        # Batches of several sizes cannot be compared; what such a batch costs both, can.
        ours, theirs = self._cost, self._shadow.dispatcher.cost
        return _ratio(_seconds(theirs, work.rows), _seconds(ours, work.rows))


class ScriptPair:
    """Two score.py."""

    def __init__(self, primary: ScriptService, shadow: ScriptService) -> None:
        self.key = primary.key
        self._shadow = shadow

    def is_comparable(self, outcome: ScriptReply) -> bool:
        return isinstance(outcome.body, bytes) and not outcome.failed

    def submit(self, work: Work[ScriptRequest, ScriptReply], done: Done) -> None:
        self._shadow.dispatcher.submit(Work(work.item, done, key="script", body=work.body))

    def size_bytes(self, outcome: ScriptReply, answer: ScriptReply) -> float:
        return sum(len(r.body) for r in (outcome, answer) if isinstance(r.body, bytes))

    def compared(self, outcome: ScriptReply, answer: ScriptReply) -> Comparison:
        if answer.failed:
            return no_comparison("run() of the shadow failed")
        if not (isinstance(answer.body, bytes) and isinstance(outcome.body, bytes)):
            return no_comparison("the shadow answers with a stream")
        if answer.status != outcome.status:
            return Comparison(Verdict.DIFFERENT, f"status {answer.status}, not {outcome.status}")
        return compare_bodies(outcome.body, answer.body)

    def duration_ratio(
        self, work: Work[Any, Any], outcome: ScriptReply, mirrored: Work[Any, Any], answer: Any
    ) -> float | None:
        if outcome.run_ms is not None and answer.run_ms is not None:
            return _ratio(answer.run_ms, outcome.run_ms)
        return _ratio(mirrored.run_s / mirrored.batch_rows, work.run_s / work.batch_rows)


def _nbytes(value: Any) -> float:
    """Of an output; what is no plain array takes its time whatever its size."""
    is_plain = isinstance(value, np.ndarray) and value.dtype.kind != "O"
    return value.nbytes if is_plain else float("inf")


def _seconds(cost: CostModel, rows: int) -> float:
    return cost.seconds(rows) if cost.known else 0.0


def _ratio(shadow: float, primary: float) -> float | None:
    return shadow / primary if shadow > 0 and primary > 0 else None
