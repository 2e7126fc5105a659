"""Files on their way, as an activity of the workspace: others see how far they are, and end them.

with transfer(workspace, "push", "digits:1 to HOST", "Pushing", output) as on_progress:
    workspace.images.push(..., on_progress=on_progress)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from registry.errors import StoreFullError
from runtime.cli.command_line import begun_here
from runtime.cli.progress import OnProgress, progress

if TYPE_CHECKING:
    from registry import Workspace
    from registry.activities import RunningActivity

LARGE_BYTES = 64 * 1024 * 1024
"""Less is copied on this machine before anyone looks."""


class Sent:
    """Bytes done so far, as the activity counts them."""

    def __init__(self, activity: RunningActivity, phase: str, shown: OnProgress | None) -> None:
        self._activity = activity
        self._shown = shown
        self._phase = phase
        self._done = 0
        self._total = 0

    def __call__(self, done_bytes: int, total_bytes: int) -> None:
        """Of how many. Raises CancelledError when someone asked for the end."""
        if total_bytes != self._total:
            self._done, self._total = 0, total_bytes
            self._activity.phase(self._phase, total_bytes)
        step, self._done = done_bytes - self._done, done_bytes
        self._activity.advance(step)
        if self._shown is not None:
            self._shown(done_bytes, total_bytes)


@contextlib.contextmanager
def transfer(
    workspace: Workspace, kind: str, subject: str, phase: str, output: str
) -> Iterator[OnProgress | None]:
    """What to call with the bytes done and their total. Only shown where the workspace is a
    service's, whose activities are its own, or has no room for one more."""
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress(phase, output))
        activity = None
        if _is_here(workspace):
            stack.enter_context(begun_here())
            with contextlib.suppress(StoreFullError):
                activity = stack.enter_context(workspace.activities.start(kind, subject))
        if activity is None:
            yield shown
            return
        activity.phase(phase)
        yield Sent(activity, phase, shown)


def _is_here(workspace: object) -> bool:
    from registry import Workspace  # not for --help

    return isinstance(workspace, Workspace)
