"""The options that ``inferry serve`` hands on to the scoring server: those of ``python -m scoring``
(a test compares them), in sections. Defaults are the server's, so none is said twice in code.

@click.command(cls=SectionedCommand)
@server_options
def serve(..., **asked): ...
    arguments(context)              # ["--port", "0", "--access-log"]
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])

TEXT = click.STRING
PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0)
MILLISECONDS = click.FloatRange(0, 1e9, min_open=True, max_open=True)
SHARE = click.FloatRange(0, 1)
PATH = click.Path(path_type=Path)


class ServerOption(click.Option):
    """An option of the server, shown in ``section`` of --help."""

    def __init__(self, *names: Any, section: str = "", **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose --help shows its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each section in the order of its first option."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                section = getattr(parameter, "section", "Options")
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def server_options(command: F) -> F:
    """Adds them all to a command, which receives them by keyword."""
    for section, name, kind, metavar, text in reversed(_OPTIONS):
        how = {"is_flag": True} if kind is None else {"type": kind, "metavar": metavar}
        command = click.option(name, cls=ServerOption, section=section, help=text, **how)(command)
    return command


def arguments(context: click.Context) -> list[str]:
    """What was asked for, as the server's own command line."""
    found: list[str] = []
    for parameter in context.command.params:
        if isinstance(parameter, ServerOption):
            value = context.params[parameter.name or ""]
            if value is True:
                found.append(parameter.opts[0])
            elif value is not None and value is not False:
                found += [parameter.opts[0], str(value)]
    return found


_SERVER, _LOAD, _LIMITS, _WATCHING = "Server", "Load and batches", "Limits", "Watching"

# Section, name, type (None: a flag), metavar, help.
_OPTIONS: list[tuple[str, str, click.ParamType[Any] | None, str, str]] = [
    (_SERVER, "--host", TEXT, "ADDRESS", "To listen on. [default: 127.0.0.1]"),
    (_SERVER, "--port", PORT, "N", "To listen on; 0: any free one. [default: 8000]"),
    (_SERVER, "--cors-origins", TEXT, "LIST", "Origins of browsers: a comma list, or *."),
    (_SERVER, "--server-name", TEXT, "NAME", "What /v2 calls this server. [default: inferry]"),
    (_SERVER, "--drain-s", SECONDS, "S", "For requests in flight after SIGTERM. [default: 30]"),
    (_LOAD, "--processes", COUNT, "N", "Server processes. [default: the CPUs; 1 for a score.py]"),
    (
        *(_LOAD, "--workers", COUNT, "N"),
        "Processes of a score.py, all together [default: 1]; of a model: as --processes.",
    ),
    (_LOAD, "--threads", COUNT, "N", "onnxruntime's in each process. [default: the CPUs shared]"),
    (
        *(_LOAD, "--max-batch", COUNT, "ROWS"),
        "Most rows of a merged batch; 1: never merge. [default: the image's, else 64]",
    ),
    (_LOAD, "--split-oversize", None, "", "Run a request of more rows in several pieces."),
    (
        *(_LIMITS, "--queue", COUNT, "N"),
        "Requests that may wait in each process; more get a 429. [default: 1000]",
    ),
    (
        *(_LIMITS, "--deadline-ms", MILLISECONDS, "MS"),
        "Of requests without x-request-deadline-ms. [default: none]",
    ),
    (_LIMITS, "--max-body-mib", COUNT, "N", "Largest body; more is a 413. [default: 100]"),
    (_LIMITS, "--body-timeout-s", SECONDS, "S", "That a slow body may take. [default: 30]"),
    (_LIMITS, "--keep-alive-s", SECONDS, "S", "That a connection may idle. [default: 75]"),
    (_WATCHING, "--access-log", None, "", "Log a JSON line for each scoring request."),
    (_WATCHING, "--triton-metrics", None, "", "Show nv_inference_* names on /metrics too."),
    (
        *(_WATCHING, "--trace", None, ""),
        "Send OpenTelemetry spans to $OTEL_EXPORTER_OTLP_ENDPOINT (needs inferry[otel]).",
    ),
    (_WATCHING, "--capture", PATH, "FILE", "Append inputs and outputs to FILE, as JSON lines."),
    (_WATCHING, "--capture-share", SHARE, "SHARE", "Of the requests, 0 to 1. [default: 1]"),
    (_WATCHING, "--capture-mib", COUNT, "N", "Size at which the file is full. [default: 100]"),
    (
        *(_WATCHING, "--shadow", TEXT, "WHAT"),
        "A second model or image: asked what the first has answered, compared, never seen.",
    ),
    (_WATCHING, "--shadow-share", SHARE, "SHARE", "Of the requests, 0 to 1. [default: 1]"),
]
