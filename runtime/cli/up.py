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
from runtime.errors import BadValueError, BusyControllerError

if TYPE_CHECKING:
    from registry import Workspace
    from runtime.deployments.controller import Controller

LOOK_EVERY_S = 0.5
AGAIN_S = 60.0
"""The same is said again after so long."""
MOST_REMEMBERED = 1000
QUIET_STATES = ("failed", "degraded")
LOUD_STATES = ("starting", "running", "updating", "stopping", "unknown", "is gone")
ASK_EVERY_S = 0.5
"""Whether another controller still runs, or a signal came."""


@click.command()
@click.option(
    "--wait-s",
    type=Finite(0, 1e9),
    help="For another controller of the workspace to end. [default: for ever]",
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="Serve /metrics, /healthz and /scale/NAME there, to whoever reaches it: 127.0.0.1:9464."
    " [default: nowhere]",
)
@click.option(
    "--listen-keda",
    metavar="ADDRESS:PORT",
    help="Speak KEDA's gRPC protocol for external scalers there. [default: nowhere]",
)
@click.option(
    "--haproxy-metrics",
    metavar="ADDRESS:PORT",
    help="Have HAProxy show its own metrics to Prometheus there, at /metrics. [default: nowhere]",
)
@workspace_option
def up(
    wait_s: float | None,
    listen: str | None,
    listen_keda: str | None,
    haproxy_metrics: str | None,
    workspace_dir: str | None,
) -> None:
    """Keep the deployments of a workspace as they are declared, until Ctrl-C or SIGTERM.

    It prints a line for each change of a deployment's state. What runs goes on afterwards, and the
    next inferry up finds it."""
    http = None if listen is None else place_of(listen)
    keda = None if listen_keda is None else place_of(listen_keda)
    haproxy = None if haproxy_metrics is None else place_of(haproxy_metrics)
    require_haproxy()
    with (
        open_workspace(workspace_dir) as workspace,
        _signals() as stopping,
        contextlib.ExitStack() as held,
    ):
        if _took_over(held, workspace.root, stopping, wait_s):
            _control(workspace, stopping, http, keda, haproxy)


class News:
    """Which lines say something new. What fails again and again has a cause that changes with each
    try; that it still fails is worth a line a minute."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def __repr__(self) -> str:
        return f"News({len(self._said)} lines)"

    def is_new(self, line: str, now_s: float) -> bool:
        """``line`` as the controller says it, at ``now_s`` of any one clock."""
        name, _, rest = line.partition(" ")
        state = rest.partition(":")[0]
        is_state = state in (*QUIET_STATES, *LOUD_STATES)
        what, how = (name, state) if is_state else (line, "")
        before = self._said.get(what)
        is_same = before is not None and before[0] == how and now_s - before[1] < AGAIN_S
        if is_same and state not in LOUD_STATES:
            return False
        if len(self._said) >= MOST_REMEMBERED:
            self._said.clear()
        self._said[what] = how, now_s
        return True


def place_of(text: str) -> tuple[str, int]:
    """Of ADDRESS:PORT or [ADDRESS]:PORT. Raises BadValueError."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    is_number = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not (colon and host and is_number) or (":" in host and not is_bracketed):
        raise BadValueError(f"{text[:80]!a} is no ADDRESS:PORT, such as 127.0.0.1:9464")
    return host, int(port)


def _control(
    workspace: Workspace,
    stopping: threading.Event,
    http: tuple[str, int] | None,
    keda: tuple[str, int] | None,
    haproxy: tuple[str, int] | None,
) -> None:
    from runtime.deployments.here import controller_of

    news = News()

    def tell(line: str) -> None:
        if news.is_new(line, time.monotonic()):
            _say(line)

    with (
        logged(tell),
        controller_of(workspace, told=tell, metrics=haproxy) as controller,
        contextlib.ExitStack() as held,
        running(controller) as check,
    ):
        if http is not None or keda is not None:
            for line in _served(held, workspace, controller, http, keda):
                _say(line)
        _say(f"Keeping the deployments of {workspace.root}; Ctrl-C ends this")
        while not stopping.wait(LOOK_EVERY_S):
            check()
    _say("Ended; what runs goes on")


def _served(
    held: contextlib.ExitStack,
    workspace: Workspace,
    controller: Controller,
    http: tuple[str, int] | None,
    keda: tuple[str, int] | None,
) -> Iterator[str]:
    """The controller's pages, while it is held. Says where they are. Raises BadValueError."""
    from runtime.controller_service.keda import KedaServer
    from runtime.controller_service.pages import Pages
    from runtime.controller_service.server import Server
    from runtime.deployments.here import balancer_folder
    from runtime.shadow.reading import mirror_metrics

    folder = balancer_folder(workspace.root)
    pages = Pages(workspace.deployments, controller.figures, more=lambda: mirror_metrics(folder))
    if http is not None:
        yield f"Metrics: {held.enter_context(Server(*http, pages)).url}/metrics"
    if keda is not None:
        port = held.enter_context(KedaServer(*keda, pages.scale_of)).port
        yield f"External scaler for KEDA: {keda[0]}, port {port}"


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
