"""``inferry edge ping|logs|restart|check|support-bundle|flush``: commands to a device."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli.edge_place import now_ms, open_database
from runtime.cli.output import Record, output_option, print_done, print_json
from runtime.cli.text import printable_lines, size
from runtime.cli.workspace import workspace_option
from runtime.errors import BadValueError, DeviceCommandError

if TYPE_CHECKING:
    from edge.messages.commands import Name

GRACE_S = 3.0
"""The answer to a command that came just in time."""
F = TypeVar("F", bound=Callable[..., object])


def timeout_option(default_s: float) -> Callable[[F], F]:
    """How long to wait for the device."""
    return click.option(
        "--timeout-s",
        type=click.FloatRange(min=0.1, max=86_400),
        default=default_s,
        show_default=True,
        help="For so long the command is good and its answer waited for.",
    )


@click.command("ping")
@click.argument("device")
@timeout_option(30)
@output_option
@workspace_option
def ping(device: str, timeout_s: float, output: str, workspace_dir: str | None) -> None:
    """Ask a device whether it hears."""
    began_ms = now_ms()
    ask(workspace_dir, device, "ping", timeout_s)
    took_ms = now_ms() - began_ms
    print_done({"device": device, "ms": took_ms}, f"{device} answered in {took_ms} ms", output)


@click.command("logs")
@click.argument("device")
@click.argument("module")
@click.option(
    "--lines", type=click.IntRange(1, 5000), default=200, show_default=True, help="The last ones."
)
@timeout_option(30)
@workspace_option
def logs(device: str, module: str, lines: int, timeout_s: float, workspace_dir: str | None) -> None:
    """Print what a module of a device printed."""
    said = ask(workspace_dir, device, "logs", timeout_s, module=module, lines=lines)
    if said:
        click.echo(printable_lines(said))


@click.command("restart")
@click.argument("device")
@click.argument("module")
@timeout_option(60)
@output_option
@workspace_option
def restart(
    device: str, module: str, timeout_s: float, output: str, workspace_dir: str | None
) -> None:
    """Stop and start a module of a device."""
    ask(workspace_dir, device, "restart", timeout_s, module=module)
    known = {"device": device, "module": module}
    print_done(known, f"Restarted {module} on {device}", output)


@click.command("check")
@click.argument("device")
@timeout_option(60)
@output_option
@workspace_option
@click.pass_context
def check(
    ctx: click.Context, device: str, timeout_s: float, output: str, workspace_dir: str | None
) -> None:
    """Have a device check itself: clock, disk, network, certificates, modules.

    The exit code is 1 when a check failed."""
    import msgspec

    from edge.agent.check import Check
    from edge.agent.checks import text

    answer = ask(workspace_dir, device, "check", timeout_s)
    try:
        results = msgspec.json.decode(answer, type=list[Check])
    except msgspec.MsgspecError as error:
        raise DeviceCommandError(f"{device} answered something else: {error}") from error
    if output == "json":
        print_json([msgspec.to_builtins(result) for result in results])
    elif results:
        click.echo(printable_lines(text(results)))
    if any(result.level == "fail" for result in results):
        ctx.exit(1)


@click.command("support-bundle")
@click.argument("device")
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False), required=False)
@timeout_option(120)
@output_option
@workspace_option
def support_bundle(
    device: str, target: Path | None, timeout_s: float, output: str, workspace_dir: str | None
) -> None:
    """Fetch logs, reports and checks of a device as TARGET, a .tar.gz without secrets.

    [default: DEVICE-support.tar.gz]"""
    target = target or Path(f"{device}-support.tar.gz")
    if target.exists():
        raise BadValueError(f"{target} is there already; name another")
    answer = ask(workspace_dir, device, "support-bundle", timeout_s)
    try:
        data = base64.b64decode(answer, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DeviceCommandError(f"{device} sent a bundle that is damaged; try again") from error
    target.write_bytes(data)
    known: Record = {"path": str(target), "size_bytes": len(data)}
    print_done(known, f"Wrote {target}, {size(len(data))}", output)


@click.command("flush")
@click.argument("device")
@timeout_option(60)
@output_option
@workspace_option
def flush(device: str, timeout_s: float, output: str, workspace_dir: str | None) -> None:
    """Have a device send the telemetry that it holds back, now."""
    said = printable_lines(ask(workspace_dir, device, "telemetry-flush", timeout_s))
    print_done({"device": device, "said": said}, said, output)


def ask(
    workspace_dir: str | None, device: str, name: Name, timeout_s: float, **arguments: Any
) -> str:
    """The answer of a device. Raises DeviceCommandError when it refuses, or says nothing."""
    from edge.hub import command_queue

    database = open_database(workspace_dir)
    id = command_queue.send(database, device, name, arguments, now_ms=now_ms(), expires_s=timeout_s)
    outcome = command_queue.wait(database, id, timeout_s=timeout_s + GRACE_S)
    if outcome.ok is None:
        raise DeviceCommandError(
            f"{device} did not answer within {timeout_s:g} s; does the hub run"
            f" (inferry edge hub), and is the device there (inferry edge devices {device})?"
        )
    if not outcome.ok:
        raise DeviceCommandError(f"{device}: {outcome.error or 'it failed without a message'}")
    return outcome.text
