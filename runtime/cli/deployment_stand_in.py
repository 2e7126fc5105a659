"""A controller for as long as a command waits, where no other runs.

with stand_in(workspace, "deployment", "web", output) as stand_in:
    until_there(..., stand_in.activity, look=stand_in.look)
    stand_in.was_needed       # nothing keeps the deployment from now on
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from runtime.cli.progress import activity_progress
from runtime.cli.text import one_line

if TYPE_CHECKING:
    from registry import Workspace
    from registry.activities import RunningActivity
    from runtime.deployments.controller import Controller

TRY_EVERY_S = 1.0
LOGGERS = ("inferry.deployments", "edge", "runtime")


class StandIn:
    """Tries now and then to be the workspace's controller; the one that runs may end."""

    def __init__(
        self,
        workspace: Workspace,
        activity: RunningActivity,
        held: contextlib.ExitStack,
        *,
        is_talking: bool = False,
    ) -> None:
        self._is_talking, self._said = is_talking, ""
        self.activity = activity
        self.was_needed = False
        self._workspace = workspace
        self._held = held
        self._next_s = 0.0
        self._check: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"StandIn({self._workspace.root}, was_needed={self.was_needed})"

    def look(self) -> None:
        """To be called often. Raises BalanceError where there is no HAProxy, and what ended the
        controller."""
        if self._check is not None:
            self._check()
        elif time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + TRY_EVERY_S
            self._begin()

    def _begin(self) -> None:
        from runtime.deployments.controller import only_controller
        from runtime.deployments.here import controller_of

        require_haproxy()
        with contextlib.ExitStack() as mine:
            if not mine.enter_context(only_controller(self._workspace.root, wait_s=0)):
                return
            mine.enter_context(logged(self._say))
            controller = mine.enter_context(controller_of(self._workspace, told=self.activity.log))
            self._check = mine.enter_context(running(controller))
            self._held.push(mine.pop_all())
        self.was_needed = True

    def _say(self, line: str) -> None:
        """Not twice in a row: the controller tries again, and fails again."""
        self.activity.log(line)
        if self._is_talking and line != self._said:
            self._said = line
            click.echo(f"inferry: {one_line(line)}", err=True)


def require_haproxy() -> None:
    """Before anything is started that could not be reached. Raises NoHaproxyError."""
    from runtime.balance.errors import NoHaproxyError
    from runtime.deployments.here import haproxy_program

    if haproxy_program() is None:
        raise NoHaproxyError(
            "haproxy is not installed, and a deployment needs it; as root: apt-get install haproxy"
            " (Debian has it in /usr/sbin)"
        )


@contextlib.contextmanager
def running(controller: Controller) -> Iterator[Callable[[], None]]:
    """In a thread, for the block; what it gives raises what ended the controller."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            controller.run()
        except BaseException as error:  # whoever asks says it
            failures.append(error)

    def check() -> None:
        if failures:
            raise failures[0]

    thread = threading.Thread(target=run, name="controller")
    thread.start()
    try:
        yield check
    finally:
        controller.stop()
        thread.join()


@contextlib.contextmanager
def stand_in(workspace: Workspace, name: str, output: str) -> Iterator[StandIn]:
    """For the block; it is an activity too."""
    with (
        workspace.activities.start(
            kind="deployment", subject=name, on_change=activity_progress(output)
        ) as activity,
        contextlib.ExitStack() as held,
    ):
        yield StandIn(workspace, activity, held, is_talking=output != "json")


@contextlib.contextmanager
def logged(say: Callable[[str], None]) -> Iterator[None]:
    """Warnings of the controller and its hosts, a line each, for the block."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(one_line(_words(record)))

    handler = Lines(logging.WARNING)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for each in loggers:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)


def _words(record: logging.LogRecord) -> str:
    """What failed, without its traceback."""
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        text = f"{text}: {type(error).__name__}: {error}"
    return text
