"""``inferry serve``: the scoring server in the foreground.

The server runs in this very process, so that Ctrl-C and SIGTERM reach it and a service manager sees
the real one; a score.py runs in worker processes of its own, as always.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from runtime.cli.workspace import open_workspace, workspace_option
from runtime.serving import Kind, Target, choose, explicit, laid_out


@click.command()
@click.argument("what")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes of a score.py [default: 1]; threads of a model without one [default: cores].",
)
@click.option("--access-log", is_flag=True, help="Log a line for each scoring request.")
@workspace_option
def serve(
    what: str,
    host: str,
    port: int,
    workers: int | None,
    access_log: bool,
    workspace_dir: Path | None,
) -> int:
    """Serve a model or image behind POST /score, until Ctrl-C or SIGTERM.

    WHAT is an .onnx file, a model folder, a bundle folder, a model NAME[:VERSION] or an image
    NAME[:VERSION] of the workspace; model:NAME and image:NAME say which of the two."""
    options = ["--host", host, "--port", str(port)]
    options += ["--workers", str(workers)] if workers else []
    options += ["--access-log"] if access_log else []
    target = explicit(what) or _ask_workspace(what, workspace_dir)
    if target.kind is Kind.PATH:
        return _serve(Path(target.value), options)
    with _unwound_on_sigterm(), contextlib.ExitStack() as stack:
        with open_workspace(workspace_dir) as workspace:
            folder = stack.enter_context(laid_out(target, workspace))
        return _serve(folder, options)


def _ask_workspace(what: str, workspace_dir: Path | None) -> Target:
    from registry.errors import RegistryError

    is_path = Path(what).exists()
    try:
        with open_workspace(workspace_dir) as workspace:
            is_model = _is_there(workspace.models.get, what)
            is_image = _is_there(workspace.images.get, what)
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


def _serve(folder: Path, options: list[str]) -> int:
    from scoring.__main__ import main  # numpy, uvicorn and the engine: 0.3 s that only serve pays

    return 1 if main([str(folder), *options]) else 0


@contextlib.contextmanager
def _unwound_on_sigterm() -> Iterator[None]:
    """SIGTERM before the server takes it over ends the process with its clean-up, not without."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
