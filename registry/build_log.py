"""How a build tells what it does: to the activity that shows it, and to the image's record."""

from __future__ import annotations

from typing import Protocol

from registry.errors import CancelledError


class Progress(Protocol):
    """What is told of long work; a RunningActivity."""

    def phase(self, name: str, total: int = 0) -> None:
        """The next phase begins; ``total`` bytes, if known."""
        ...

    def advance(self, count: int) -> None:
        """So many bytes are done. Raises CancelledError."""
        ...

    def log(self, line: str) -> None:
        """A line for the log."""
        ...

    def check(self) -> None:
        """Raises CancelledError when someone has cancelled."""
        ...


class BuildLog:
    """A Progress that also keeps its lines."""

    def __init__(self, progress: Progress) -> None:
        self.lines: list[str] = []
        self._progress = progress
        self.check = progress.check
        self.advance = progress.advance
        self.phase = progress.phase

    def is_cancelled(self) -> bool:
        """Whether ``check`` would raise."""
        try:
            self.check()
        except CancelledError:
            return True
        return False

    def log(self, line: str) -> None:
        """A line for both."""
        self.lines.append(line)
        self._progress.log(line)


class CompilerLog:
    """What a compiler for an FPGA is given: called with a line of the log. Raises
    CancelledError."""

    def __init__(self, log: BuildLog) -> None:
        self._log = log.log
        self.check = log.check

    def __call__(self, line: str) -> None:
        """A line, if it is to go on."""
        self.check()
        self._log(line)
