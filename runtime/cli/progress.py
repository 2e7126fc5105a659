"""Shows how far long work is: a bar on a terminal, now and then a line elsewhere, on stderr.

Work that takes less than a second shows nothing, and neither does --output json.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

from runtime.cli.text import size

OnProgress = Callable[[int, int], None]
SHOW_AFTER_S = 1.0
LINE_EVERY_S = 5.0


class Lines:
    """Progress as lines of text, at most one every LINE_EVERY_S seconds."""

    def __init__(
        self,
        what: str,
        *,
        echo: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._echo = echo
        self._clock = clock
        self._next_s = clock() + SHOW_AFTER_S

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Bytes done so far, of how many."""
        if self._clock() >= self._next_s:
            self._next_s = self._clock() + LINE_EVERY_S
            share = 100 * done_bytes // total_bytes if total_bytes else 100
            self._echo(f"{self._what}: {share} % of {size(total_bytes)}")


@contextlib.contextmanager
def progress(what: str, output: str) -> Iterator[OnProgress | None]:
    """What to call with the bytes done and their total, or None when nothing is to be shown."""
    if output == "json":
        yield None
    elif sys.stderr.isatty():
        with _bar(what) as bar:
            yield bar
    else:
        yield Lines(what, echo=lambda line: click.echo(line, err=True))


@contextlib.contextmanager
def _bar(what: str) -> Iterator[OnProgress]:
    """A bar that appears after SHOW_AFTER_S seconds, and goes at the end."""
    began_s = time.monotonic()
    with contextlib.ExitStack() as stack:
        update: OnProgress | None = None

        def on_progress(done_bytes: int, total_bytes: int) -> None:
            nonlocal update
            if update is None and time.monotonic() - began_s >= SHOW_AFTER_S:
                update = stack.enter_context(_rich_bar(what))
            if update is not None:
                update(done_bytes, total_bytes)

        yield on_progress


@contextlib.contextmanager
def _rich_bar(what: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)
