"""Tells what a pipeline does, on stderr: lines, and on a terminal what runs below them.

with told(output) as tell:
    drive(workspace, ref, on_event=tell)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from runtime.cli.run_records import duration
from runtime.cli.text import one_line, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from runtime.pipelines import Event

Tell = Callable[["Event"], None]
ENDS = ("finished", "reused", "failed", "cancelled", "again")


@contextmanager
def told(output: str) -> Iterator[Tell]:
    """What to call with each event; nothing is shown with --output json."""
    if output == "json":
        yield lambda event: None
    elif sys.stderr.isatty():
        with _bar() as bar:
            yield Told(lambda line: bar.console.print(line, markup=False, highlight=False), bar)
    else:
        yield Told(lambda line: click.echo(line, err=True))


class Told:
    """Lines of what happens, with how long each step took; ``bar`` has a line for each that
    runs."""

    def __init__(
        self,
        echo: Callable[[str], None],
        bar: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._echo, self._bar, self._clock = echo, bar, clock
        self._since: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """It happened."""
        took = ""
        if event.what == "started":
            self._since[event.step] = self._clock()
            if self._bar is not None:
                self._tasks[event.step] = self._bar.add_task(printable(event.step), total=None)
        elif event.what in ENDS and event.step in self._since:
            since_ms = int(1000 * (self._clock() - self._since.pop(event.step)))
            took = duration(since_ms if event.took_ms is None else event.took_ms)
            if self._bar is not None:
                self._bar.remove_task(self._tasks.pop(event.step))
        self._echo(line_of(event, took))


def line_of(event: Event, took: str = "") -> str:
    """One line, safe to print."""
    step, text = printable(event.step), one_line(event.text) if event.text else ""
    after = f" after {took}" if took else ""
    said = f": {text}" if text else ""
    lines = {
        "started": f"{step}: started as {event.run}",
        "reused": f"{step}: reused from {event.run}{said}",
        "finished": f"{step}: finished{after}{said}",
        "failed": f"{step}: failed{after}{said}",
        "again": f"{step}: failed{after}{said}; it is tried again",
        "cancelled": f"{step}: cancelled{after}",
        "skipped": f"{step}: skipped{said}",
        "line": f"{step} | {printable(event.text)}",
        "cancelling": "cancelling what runs",
    }
    return lines[event.what]


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar
