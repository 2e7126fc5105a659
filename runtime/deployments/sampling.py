"""A new revision's first replica, tried with what its image knows the answers to: once, in a thread
of its own, as a slow model takes its time and ticks go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Sample = Callable[[int, str, str, int], str | None]
"""Asks a new replica of a revision and its digest, at address and port, what its image knows the
answer to; returns what is wrong."""


@dataclass(slots=True)
class _Try:
    thread: threading.Thread | None = None
    is_done: threading.Event = field(default_factory=threading.Event)
    wrong: str | None = None


class Sampling:
    """Of one deployment. Not for several threads at once. ``sample``: None: there is nothing to
    try."""

    def __init__(self, sample: Sample | None) -> None:
        self._sample = sample
        self._tries: dict[int, _Try] = {}

    def __repr__(self) -> str:
        return f"Sampling({sorted(self._tries)})"

    def forget(self, revision: int) -> None:
        """It is tried anew."""
        self._tries.pop(revision, None)

    def is_done(self, revision: int, digest: str, address: str, port: int) -> bool:
        """Whether it has been tried; begins that. ``address`` and ``port``: of a replica."""
        if self._sample is None:
            return True
        found = self._tries.get(revision)
        if found is None:
            found = self._tries[revision] = _Try()
            found.thread = threading.Thread(
                target=_run,
                args=(found, self._sample, revision, digest, address, port),
                name=f"sample of revision {revision}",
                daemon=True,
            )
            found.thread.start()
        return found.is_done.is_set()

    def wrong(self, revision: int) -> str | None:
        """With its answers; None: nothing, or not known yet."""
        found = self._tries.get(revision)
        return found.wrong if found is not None and found.is_done.is_set() else None


def _run(found: _Try, sample: Sample, revision: int, digest: str, address: str, port: int) -> None:
    try:
        found.wrong = sample(revision, digest, address, port)
    except Exception as error:  # whatever it is: the revision could not be tried
        found.wrong = f"it could not be tried: {type(error).__name__}: {error}"
    finally:
        found.is_done.set()
