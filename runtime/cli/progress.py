"""Shows how far long work is, on stderr: a bar on a terminal, now and then a line elsewhere.

Work that takes less than a second shows nothing, and neither does --output json. An activity is
shown phase by phase: a bar where its bytes are known, a spinner where not, and off a terminal a
line as each phase begins and then at most one every LINE_EVERY_S seconds.

    with activities.start(kind="image", subject="digits", on_change=activity_progress(output)): ...
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from runtime.cli.text import printable, size

if TYPE_CHECKING:
    from rich.progress import Progress

    from registry.activities import Activity

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


def activity_progress(output: str) -> Callable[[Activity], None] | None:
    """What ``Activities.start`` is to call with each change, or None when nothing is to be
    shown."""
    if output == "json":
        return None
    if sys.stderr.isatty():
        return PhaseBar()
    return phase_lines()


def phase_lines() -> PhaseLines:
    """On stderr."""
    return PhaseLines(echo=lambda line: click.echo(line, err=True))


class PhaseLines:
    """An activity as lines of text: one as each phase begins, then at most one every
    LINE_EVERY_S seconds."""

    def __init__(
        self, *, echo: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._echo = echo
        self._clock = clock
        self._phase = ""
        self._next_s = 0.0

    def __call__(self, activity: Activity) -> None:
        """It changed."""
        is_new = activity.phase != self._phase
        if not activity.is_running or not activity.phase:
            return
        if is_new or self._clock() >= self._next_s:
            self._phase = activity.phase
            self._next_s = self._clock() + LINE_EVERY_S
            self._echo(phase_line(activity))

    def say(self, line: str) -> None:
        """A line of the activity's own, on stdout."""
        click.echo(line)

    def close(self) -> None:
        """Nothing is open."""


class PhaseBar:
    """An activity on a terminal: a line that appears after SHOW_AFTER_S seconds and goes at its
    end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Activity | None = None
        self._bar: Progress | None = None
        self._is_closed = False
        # Not by the next change: a phase may take long and report nothing.
        self._timer = threading.Timer(SHOW_AFTER_S, self._appear)
        self._timer.daemon = True

    def __call__(self, activity: Activity) -> None:
        """It changed."""
        with self._lock:
            if self._now is None:
                self._timer.start()
            is_new = self._now is None or self._now.phase != activity.phase
            self._now = activity
            if not activity.is_running:
                self._close()
            elif self._bar is not None:
                self._update(self._bar, activity, is_new)

    def say(self, line: str) -> None:
        """A line of the activity's own, on stdout; on the same terminal it goes above the bar."""
        from rich.text import Text

        with self._lock:
            if self._bar is not None and sys.stdout.isatty():
                self._bar.console.print(Text(line))
            else:
                click.echo(line)

    def close(self) -> None:
        """The bar goes, whether the activity has ended or not."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        self._timer.cancel()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _appear(self) -> None:
        bar = _phase_columns()
        with self._lock:
            if self._now is not None and not self._is_closed:
                self._bar = bar
                bar.start()
                self._update(bar, self._now, is_new=True)

    def _update(self, bar: Progress, activity: Activity, is_new: bool) -> None:
        if is_new:  # a new task, so that time and speed are the phase's own
            for task in bar.task_ids:
                bar.remove_task(task)
            bar.add_task(printable(activity.phase or activity.subject), total=None)
        (task,) = bar.task_ids
        bar.update(task, completed=activity.done, total=activity.total or None)


def phase_line(activity: Activity) -> str:
    """``Packing: 12 % of 45.0 MiB``, or the bytes alone, or just the phase."""
    phase = printable(activity.phase)
    if not (activity.done or activity.total):
        return phase
    return f"{phase}: {amount(activity.done, activity.total)}"


def amount(done_bytes: int, total_bytes: int) -> str:
    """``12 % of 45.0 MiB``, or the bytes alone while nobody knows how many there are."""
    if not total_bytes:
        return size(done_bytes)
    return f"{100 * min(done_bytes, total_bytes) // total_bytes} % of {size(total_bytes)}"


def _phase_columns() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Bytes(DownloadColumn):
        """Nothing while there are none."""

        def render(self, task: Task) -> Text:
            return super().render(task) if task.total or task.completed else Text("")

    class Bar(BarColumn):
        """Nothing but the spinner while nobody knows how much there is."""

        def render(self, task: Task) -> object:  # type: ignore[override]
            return super().render(task) if task.total else Text("")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        Bar(),
        Bytes(binary_units=True),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
