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
        self, workspace: Workspace, activity: RunningActivity, held: contextlib.ExitStack
    ) -> None:
        self.activity = activity
        self.was_needed = False
        self._workspace = workspace
        self._held = held
        self._next_s = 0.0
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        return f"StandIn({self._workspace.root}, was_needed={self.was_needed})"

    def look(self) -> None:
        """To be called often. Raises BalanceError where there is no HAProxy, and what ended the
        controller."""
        if self._failure is not None:
            raise self._failure
        if self.was_needed or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + TRY_EVERY_S
        self._begin()

    def _begin(self) -> None:
        from runtime.deployments.controller import only_controller
        from runtime.deployments.here import controller_of

        with contextlib.ExitStack() as mine:
            if not mine.enter_context(only_controller(self._workspace.root, wait_s=0)):
                return
            mine.enter_context(logged(self.activity.log))
            controller = controller_of(self._workspace, told=self.activity.log)
            mine.enter_context(controller)
            mine.enter_context(self._running(controller))
            self._held.push(mine.pop_all())
        self.was_needed = True

    @contextlib.contextmanager
    def _running(self, controller: Controller) -> Iterator[None]:
        thread = threading.Thread(target=self._run, args=(controller,), name="controller")
        thread.start()
        try:
            yield
        finally:
            controller.stop()
            thread.join()

    def _run(self, controller: Controller) -> None:
        try:
            controller.run()
        except BaseException as error:  # the command's to say
            self._failure = error


@contextlib.contextmanager
def stand_in(workspace: Workspace, name: str, output: str) -> Iterator[StandIn]:
    """For the block; it is an activity too."""
    with (
        workspace.activities.start(
            kind="deployment", subject=name, on_change=activity_progress(output)
        ) as activity,
        contextlib.ExitStack() as held,
    ):
        yield StandIn(workspace, activity, held)


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
