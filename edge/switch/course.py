"""Where a module is on its way: on disk before anything is done, and what is shown of it meanwhile.

One thread moves it; others read ``record`` and ``progress``, each of which is replaced as a whole.
"""

from __future__ import annotations

import msgspec

from edge.switch.machine import PREPARING, State, at_rest, move
from edge.switch.record import Record
from edge.switch.tools import Progress, Tools


class OverError(Exception):
    """Something else is wanted, or it is the end."""


class Course:
    """Of the module ``name``."""

    def __init__(self, name: str, tools: Tools) -> None:
        self._name = name
        self._tools = tools
        self.record = tools.records.load(name)
        self.progress = Progress()

    def __repr__(self) -> str:
        return f"Course({self._name}, {self.record.state})"

    def put(self, record: Record) -> None:
        """Durable once it returns."""
        self._tools.records.put(self._name, record)
        self.record = record
        self._tools.on_change()

    def move(self, state: State) -> None:
        """Raises IllegalMoveError."""
        self.put(msgspec.structs.replace(self.record, state=move(self.record.at, state).value))

    def rest(self) -> None:
        """What was being prepared is not any more."""
        if self.record.at in PREPARING:
            self.move(at_rest(self.record.is_on_trial))

    def forget(self) -> None:
        """The module is gone."""
        self._tools.records.remove(self._name)
        self.record = Record()

    def show(
        self,
        *,
        waiting_for: str | None = None,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
        error: str | None = None,
    ) -> None:
        """Of the step under way; nothing: there is nothing to say."""
        new = Progress(waiting_for, done_bytes, total_bytes, error)
        if new != self.progress:
            self.progress = new
            self._tools.on_change()


def one_line(error: Exception) -> str:
    """What an error says, for a report."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:1000]
