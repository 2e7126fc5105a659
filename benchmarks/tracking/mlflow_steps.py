"""Steps of mlflow_script.py, and how they say what came of something.

Runs where ``mlflow`` is installed and nothing of Inferry is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow  # type: ignore[import-not-found,unused-ignore]
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException  # type: ignore[import-not-found,unused-ignore]

Step = Callable[[MlflowClient, dict[str, Any]], Any]
STEPS: list[Step] = []
MAJOR = int(mlflow.__version__.partition(".")[0])
"""Of the client."""


def step(function: Step) -> Step:
    """One more, in the order of the file."""
    STEPS.append(function)
    return function


class _Listener(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(f"{record.name}: {record.getMessage()[:60]}")


@contextmanager
def warnings_said() -> Iterator[list[str]]:
    """What the client warns of in the block, as far as it is the same each time."""
    said: list[str] = []
    handler = _Listener(said)
    logger = logging.getLogger("mlflow")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def code(call: Callable[[], Any]) -> str:
    """The error's code, or what was returned although an error was to be."""
    try:
        call()
    except MlflowException as error:
        return str(error.error_code)
    except Exception as error:
        return type(error).__name__
    return "no error"


def plain(value: float) -> float | str:
    """JSON has no NaN."""
    return value if math.isfinite(value) else str(value)


def record(run: Any) -> Any:
    """What a run says, without what differs from time to time."""
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.source.git")}
    for key in ("mlflow.user", "mlflow.source.name", "mlflow.parentRunId"):
        if key in tags:
            tags[key] = "..."
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": dict(run.data.params),
        "metrics": {key: plain(value) for key, value in run.data.metrics.items()},
        "tags": tags,
        "ended": run.info.end_time >= run.info.start_time,
    }


def listed(client: MlflowClient, run: str, path: str | None = None) -> Any:
    """What is in a folder."""
    return [[f.path, f.is_dir, f.file_size] for f in client.list_artifacts(run, path)]
