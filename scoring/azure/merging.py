"""Which scripts answer several requests by one call, and how.

Either the script says so, by a function beside run()::

    def run_batch(items: list) -> list:
        "items: what run's data parameter would get of each request; returns as many results, each
        what run() would return, or an exception for that item alone."

or run() has one @input_schema parameter with rows (a numpy array, a data frame, a list) and has
shown on the sample that it treats each row by itself (proof.py). Then rows are joined and what it
returns is split again.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from scoring.azure import row_outputs
from scoring.azure.entry_script import EntryScript
from scoring.azure.input_schema import InputSchema, has_foreign_wrapper, input_schemas
from scoring.azure.inputs import Arguments
from scoring.azure.proof import DisprovedError, Trial
from scoring.azure.row_inputs import Rows, rows_of

logger = logging.getLogger("azmlinfsrv.merging")


class Joint(Protocol):
    """A way to answer several requests by one call."""

    def value(self, arguments: Arguments) -> tuple[Any, Hashable | None]:
        """One request's value, and what tells with which others it can go; None: with no other.
        Raises whatever the conversion raises."""

    def call(self, values: list[Any]) -> list[Any]:
        """The result for each value, an exception being that value's own. Raises whatever the
        script raises, or an error of its own when results and values do not fit."""


class NotMerged(Exception):
    """Each request has a call of its own; ``str()`` says why."""


class ResultError(Exception):
    """run_batch() did not return a list with a result for each item."""


def choose(
    script: EntryScript, *, merges: bool, before_proof: Callable[[], None]
) -> tuple[Joint | None, str]:
    """How this script answers several requests at once, and why, or why not. Call it after init();
    ``before_proof`` is called before run() is tried."""
    try:
        joint, reason = _choose(script, merges, before_proof)
    except NotMerged as error:
        logger.info("Requests are not merged: %s", error)
        return None, str(error)
    logger.info("Requests may be merged: %s", reason)
    return joint, reason


def _choose(
    script: EntryScript, merges: bool, before_proof: Callable[[], None]
) -> tuple[Joint, str]:
    if not merges:
        raise NotMerged("INFERRY_MERGE is off")
    if script.mode == "raw":
        raise NotMerged("run() takes the HTTP request itself")
    if script.wants_headers:
        raise NotMerged("run() takes request_headers")
    if script.mode == "object" and len(script.data) != 1:
        raise NotMerged("run() has more than one parameter")
    schemas = input_schemas(script.run) if script.mode == "object" else []
    hook = _hook(script, schemas)
    if hook is not None:
        return hook, "the script has run_batch()"
    if script.mode != "object":
        raise NotMerged("run() takes a JSON string, and the script has no run_batch()")
    return _merged(script, schemas, before_proof), "run() treats each row of its sample by itself"


class HookCall:
    """Through the script's run_batch()."""

    def __init__(
        self, run_batch: Callable[[list[Any]], Any], parameter: str, schema: InputSchema | None
    ) -> None:
        self._run_batch = run_batch
        self._parameter = parameter
        self._schema = schema

    def value(self, arguments: Arguments) -> tuple[Any, Hashable | None]:
        value = arguments[self._parameter]
        return (value if self._schema is None else self._schema.convert(value)), True

    def call(self, values: list[Any]) -> list[Any]:
        results = self._run_batch(list(values))
        if not isinstance(results, list | tuple):
            raise ResultError(f"run_batch() returned a {type(results).__name__}, not a list")
        if len(results) != len(values):
            raise ResultError(
                f"run_batch() returned {len(results)} results for {len(values)} items"
            )
        return list(results)


class MergedCall:
    """Through one run() on the rows of all."""

    def __init__(self, run: Callable[..., Any], schema: InputSchema, rows: Rows) -> None:
        self._run = run
        self._schema = schema
        self._rows = rows

    def value(self, arguments: Arguments) -> tuple[Any, Hashable | None]:
        value = self._schema.convert(arguments[self._schema.parameter])
        return value, self._rows.key(value)

    def call(self, values: list[Any]) -> list[Any]:
        counts = [len(value) for value in values]
        returned = self._run(**{self._schema.parameter: self._rows.join(values)})
        return row_outputs.split(returned, counts)


def _hook(script: EntryScript, schemas: list[InputSchema]) -> HookCall | None:
    run_batch = script.run_batch
    if run_batch is None:
        return None
    if not callable(run_batch) or inspect.iscoroutinefunction(run_batch):
        logger.warning("run_batch is no plain function and is not used")
        return None
    try:
        inspect.signature(run_batch).bind([])
    except (TypeError, ValueError):
        logger.warning("run_batch() does not take one list and is not used")
        return None
    if script.mode != "object":
        return HookCall(run_batch, script.data[0], None)
    found = [schema for schema in schemas if schema.parameter == script.data[0]]
    if len(found) > 1:
        raise NotMerged(f"the parameter {script.data[0]!r} has more than one @input_schema")
    return HookCall(run_batch, script.data[0], found[0] if found else None)


def _merged(
    script: EntryScript, schemas: list[InputSchema], before_proof: Callable[[], None]
) -> MergedCall:
    if len(schemas) != 1 or schemas[0].parameter != script.data[0]:
        raise NotMerged("run() does not have one @input_schema for its one parameter")
    if has_foreign_wrapper(script.run):
        raise NotMerged("another decorator than @input_schema gets the request first")
    [schema] = schemas
    if not schema.converts or schema.optional:
        raise NotMerged("its @input_schema does not convert each value")
    rows = rows_of(schema.type)
    if isinstance(rows, str):
        raise NotMerged(f"{rows}")
    before_proof()
    logger.info(
        "Trying run() on its sample, to see whether requests may be merged "
        "(INFERRY_MERGE=off prevents that)"
    )
    trial = Trial(lambda value: script.run(**{schema.parameter: value}), rows)
    try:
        trial.prove()
    except DisprovedError as error:
        raise NotMerged(str(error)) from None
    except Exception as error:  # a sample that cannot be cut, say
        raise NotMerged(f"run() cannot be tried: {type(error).__name__}: {error}") from error
    finally:
        logger.info("run() was called %d times with its sample", trial.calls)
    return MergedCall(script.run, schema, rows)
