"""What goes wrong with a submission.

SubmissionError
├── PlaceError      the target cannot be used: not there, refuses, or lacks what is needed
├── LostError       the connection to the target was lost; it may come back
└── RunFailedError  the run has ended, and not well
"""

from __future__ import annotations

from runtime.errors import InferryError


class SubmissionError(InferryError):
    """Base of these."""


class PlaceError(SubmissionError):
    """The target cannot be used."""


class LostError(SubmissionError):
    """The connection was lost."""


class RunFailedError(SubmissionError):
    """The run has ended, and not well."""
