"""``inferry activity hook ...``: webhooks that are told how activities go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.workspace import is_url, open_workspace, workspace_option

if TYPE_CHECKING:
    from registry.activities.hooks import ActivityHook, ActivityHooks
    from runtime.remote.activity_hooks import RemoteActivityHooks

COLUMNS = ("id", "url", "kinds", "on", "waiting", "said")


@click.group()
def hook() -> None:
    """Webhooks that are told how activities go."""


@hook.command()
@click.argument("url")
@click.option(
    "--kind", "kinds", multiple=True, help="Only of this kind; may repeat. [default: all]"
)
@click.option(
    "--on",
    "states",
    default="succeeded,failed,cancelled",
    show_default=True,
    metavar="STATE,...",
    help="In which it is told; also running.",
)
@click.option("--secret", metavar="FILE|-", help="What signs it. [default: a new one, printed]")
@output_option
@workspace_option
def add(
    url: str,
    kinds: tuple[str, ...],
    states: str,
    secret: str | None,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Tell URL from now on, by a signed POST (Standard Webhooks).

    inferry registry serve sends it, as does inferry activity hook deliver."""
    from runtime.activity_hooks import random_bytes
    from runtime.cli.deployment_values import secret_file

    given = None if secret is None else secret_file("secret", Path(secret))
    wanted = [state.strip() for state in states.split(",") if state.strip()]
    with _hooks(workspace_dir) as hooks:
        made, signs = hooks.add(url, kinds=kinds, states=wanted, secret=given, random=random_bytes)
    shown = signs.decode() if given is None else None
    if output == "json":
        print_record({**record(made), "secret": shown}, output)
        return
    click.echo(f"Hook {made.id} tells {made.url}")
    if shown is not None:
        click.echo(f"Its secret, which is not shown again: {shown}")


@hook.command("list")
@output_option
@workspace_option
def list_hooks(output: str, workspace_dir: str | None) -> None:
    """List them, with how many each has not been told yet, and why not."""
    with _hooks(workspace_dir) as hooks:
        found = hooks.list()
    print_records([record(each) for each in found], COLUMNS, output)


@hook.command()
@click.argument("id", type=click.IntRange(1))
@output_option
@workspace_option
def delete(id: int, output: str, workspace_dir: str | None) -> None:
    """Delete one, with what it has not been told yet."""
    with _hooks(workspace_dir) as hooks:
        gone = hooks.delete(id)
    print_done(record(gone), f"Deleted hook {gone.id}, which told {gone.url}", output)


@hook.command()
@output_option
@workspace_option
def deliver(output: str, workspace_dir: str | None) -> None:
    """Send now what is due, where no service runs."""
    from runtime.activity_hooks import deliver_due, hooks_of

    with open_workspace(workspace_dir) as workspace:
        hooks = hooks_of(workspace)  # one elsewhere refuses: a service sends by itself
        workspace.activities.settle()
        taken = deliver_due(workspace)
        waiting = sum(each.waiting for each in hooks.list())
    known: Record = {"delivered": taken, "waiting": waiting}
    print_done(known, f"Delivered {taken}; {waiting} wait", output)


def record(found: ActivityHook) -> Record:
    """A hook as JSON has it."""
    return {
        "id": found.id,
        "url": found.url,
        "kinds": found.kinds,
        "on": found.states,
        "made_at": found.made_at,
        "waiting": found.waiting,
        "said": found.said,
    }


@contextmanager
def _hooks(workspace_dir: str | None) -> Iterator[ActivityHooks | RemoteActivityHooks]:
    """Those of a folder, or of a service, whose owners have them."""
    if is_url(workspace_dir):
        from runtime.remote import RemoteWorkspace

        with RemoteWorkspace(str(workspace_dir)) as remote:
            yield remote.activity_hooks
        return
    from runtime.activity_hooks import hooks_of

    with open_workspace(workspace_dir) as workspace:
        yield hooks_of(workspace)
