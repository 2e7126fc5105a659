"""Shows on its sample that run() treats each row by itself, by calling it.

The first row of the sample and something else (the other rows, or the first one changed) must give
the same answers alone and together; twice the same input must give the same answer. It is no proof
in the strict sense: a script could look at its other rows only where it sees some rare value. So
what is like the sample but for its values is merged and nothing else (row_inputs.py), and a script
whose answer never changes is not trusted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from scoring.azure.alarm import time_limit
from scoring.azure.row_inputs import Rows
from scoring.azure.row_outputs import NotRowsError, same, split

LIMIT_S = 10.0
"""For all calls together; a script that takes longer is not merged."""


class DisprovedError(Exception):
    """run() must have each request for itself; ``str()`` says why."""


class Trial:
    """Calls run() on a value and splits what it returns into rows."""

    def __init__(
        self, run: Callable[[Any], Any], rows: Rows, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._rows = rows
        self._clock = clock
        self._ends_at = clock() + LIMIT_S
        self.calls = 0

    def prove(self) -> None:
        """Raises DisprovedError unless requests may be merged."""
        first = self._rows.part(0, 1)
        alone = self._answers(first, 1)
        if not same(alone, self._answers(self._rows.part(0, 1), 1)):
            raise DisprovedError("it answers the same input differently each time")
        for other, count in self._others():
            try:
                others = self._answers(other(), count)
            except _TooSlowError:
                raise
            except DisprovedError:
                continue  # outside of what it was made for
            joined = self._rows.join([self._rows.part(0, 1), other(), self._rows.part(0, 1)])
            if not same(self._answers(joined, count + 2), [*alone, *others, *alone]):
                raise DisprovedError("a row's answer depends on the rows around it")
            if any(not same(answer, alone[0]) for answer in others):
                return
        raise DisprovedError("its answer to the sample does not change with the input")

    def _others(self) -> Iterator[tuple[Callable[[], Any], int]]:
        """Inputs to go with the first row, made anew by each call, and their number of rows."""
        count = len(self._rows.sample)
        if count > 1:
            yield lambda: self._rows.part(1, None), count - 1
        for variant in self._rows.variants():
            yield lambda variant=variant: self._rows.join([variant]), 1  # type: ignore[misc]

    def _answers(self, value: Any, count: int) -> list[Any]:
        self.calls += 1
        left_s = self._ends_at - self._clock()
        try:
            with time_limit(max(left_s, 0.001) * 1000):
                returned = self._run(value)
            answer = json.loads(json.dumps(returned))
            parts = split(answer, [1] * count)
            return [json.loads(part) for part in parts] if isinstance(answer, str) else parts
        except TimeoutError:
            raise _TooSlowError(f"run() takes too long on its sample ({LIMIT_S:g} s)") from None
        except NotRowsError as error:
            raise DisprovedError(str(error)) from None
        except BaseException as error:
            raise DisprovedError(f"it fails on its sample: {type(error).__name__}") from None


class _TooSlowError(DisprovedError):
    """No time is left for other tries."""
