"""``inferry up``: keeps all deployments of a workspace as they are declared, in the foreground."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.deployment_stand_in import logged, require_haproxy, running
from runtime.cli.deployment_values import Finite
from runtime.cli.text import printable
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BusyControllerError

if TYPE_CHECKING:
    from registry import Workspace

LOOK_EVERY_S = 0.5
ASK_EVERY_S = 0.5
"""Whether another controller still runs, or a signal came."""


@click.command()
@click.option(
    "--wait-s",
    type=Finite(0, 1e9),
    help="For another controller of the workspace to end. [default: for ever]",
)
@workspace_option
def up(wait_s: float | None, workspace_dir: Path | None) -> None:
    """Keep the deployments of a workspace as they are declared, until Ctrl-C or SIGTERM.

    It prints a line for each change of a deployment's state. What runs goes on afterwards, and the
    next inferry up finds it."""
    require_haproxy()
    with (
        open_workspace(workspace_dir) as workspace,
        _signals() as stopping,
        contextlib.ExitStack() as held,
    ):
        if _took_over(held, workspace.root, stopping, wait_s):
            _control(workspace, stopping)


def _control(workspace: Workspace, stopping: threading.Event) -> None:
    from runtime.deployments.here import controller_of

    with (
        logged(_say),
        controller_of(workspace, told=_say) as controller,
        running(controller) as check,
    ):
        _say(f"Keeping the deployments of {workspace.root}; Ctrl-C ends this")
        while not stopping.wait(LOOK_EVERY_S):
            check()
    _say("Ended; what runs goes on")


def _took_over(
    held: contextlib.ExitStack, root: Path, stopping: threading.Event, wait_s: float | None
) -> bool:
    """Of two controllers the second waits. False: it was told to stop meanwhile. Raises
    BusyControllerError after ``wait_s``."""
    from runtime.deployments.controller import only_controller

    began_s, has_said = time.monotonic(), False
    while not stopping.is_set():
        with contextlib.ExitStack() as mine:
            if mine.enter_context(only_controller(root, wait_s=0)):
                held.push(mine.pop_all())
                return True
        if wait_s is not None and time.monotonic() - began_s >= wait_s:
            raise BusyControllerError(
                f"another controller of {root} runs, and did not end within {wait_s:g} s"
            )
        if not has_said:
            _say(f"Another controller of {root} runs; waiting for its end")
            has_said = True
        stopping.wait(ASK_EVERY_S)
    return False


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or SIGTERM; a second one does what it always does."""
    stopping = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(_number: int, _frame: Any) -> None:
        stopping.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield stopping
    finally:
        restore()


def _say(line: str) -> None:
    from registry.clock import utc_now

    click.echo(f"{utc_now()} {printable(line)}")
