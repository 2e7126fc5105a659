"""``inferry serve``: the scoring server in the foreground.

The server runs in this very process, so that Ctrl-C and SIGTERM reach it and a service manager sees
the real one; models and scripts run in processes of their own, as always. SIGHUP serves what WHAT
means then: the version of a name that is the latest by now, or the files that are at a path.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from runtime.cli.server_options import SectionedCommand, arguments, server_options
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.serving import Latest, Target, choose, explicit


@click.command(cls=SectionedCommand)
@click.argument("what")
@server_options
@workspace_option
@click.pass_context
def serve(
    context: click.Context, /, what: str, workspace_dir: str | None, shadow: str | None, **_: Any
) -> int:
    """Serve a model or image behind POST /score, until Ctrl-C or SIGTERM.

    WHAT is an .onnx file, a model folder, a bundle folder, a model NAME[:VERSION] or an image
    NAME[:VERSION] of the workspace; model:NAME and image:NAME say which of the two. On SIGHUP, a
    NAME without version is looked up again, and its latest version takes over."""

    def latest(named: str) -> Latest:
        target = explicit(named) or _ask_workspace(named, workspace_dir)
        return Latest(target, lambda: open_workspace(workspace_dir))

    with _signals_of_a_server(), contextlib.ExitStack() as stack:
        main = stack.enter_context(latest(what))
        if shadow is not None:
            context.params["shadow"] = stack.enter_context(latest(shadow)).folder()
        return _serve(main, arguments(context))


def _ask_workspace(what: str, workspace_dir: str | None) -> Target:
    from registry.errors import RegistryError

    is_path = Path(what).exists()
    try:
        with open_workspace(workspace_dir) as workspace:
            is_model = _is_there(workspace.models.get, what)
            is_image = "@" not in what and _is_there(workspace.images.get, what)
    except RegistryError:
        if not is_path:
            raise
        is_model = is_image = False  # a path needs no workspace
    return choose(what, is_path=is_path, is_model=is_model, is_image=is_image)


def _is_there(get: Callable[[str], object], what: str) -> bool:
    from registry.errors import NotFoundError

    try:
        get(what)
    except NotFoundError:
        return False
    return True


def _serve(main: Latest, options: list[str]) -> int:
    from scoring.__main__ import main as run  # 0.1 s that only serve pays

    return 1 if run([str(main.folder()), *options], main.folder) else 0


@contextlib.contextmanager
def _signals_of_a_server() -> Iterator[None]:
    """Before the server takes them over: SIGTERM ends the process with its clean-up, and SIGHUP
    asks for nothing yet."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    term = signal.signal(signal.SIGTERM, leave)
    hup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, term)
        signal.signal(signal.SIGHUP, hup)
