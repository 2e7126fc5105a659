"""What is wrong with a pipeline, or with one of its runs.

InferryError
└── PipelineError            base of these
    ├── BadPipelineError     what is written down makes no sense; nothing has run
    └── PipelineFailedError  a step failed; ``log`` has its last lines
"""

from __future__ import annotations

from runtime.errors import InferryError


class PipelineError(InferryError):
    """A run of a pipeline that is not there, runs already, or has nothing left to do."""


class BadPipelineError(PipelineError):
    """What is written down makes no sense; nothing has run."""


class PipelineFailedError(PipelineError):
    """A step failed; ``log`` has the last lines of the first one that did."""

    def __init__(self, message: str, *, log: str = "") -> None:
        self.log = log
        super().__init__(message)
