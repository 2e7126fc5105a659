"""``inferry registry formats``: which files models may have."""

from __future__ import annotations

import click

from runtime.cli.output import output_option, print_record
from runtime.cli.workspace import open_workspace, workspace_option

_KINDS = click.Choice(["pickle", "unknown"])


@click.command()
@click.option("--allow", "allowed", type=_KINDS, multiple=True, help="From now on; may repeat.")
@click.option("--refuse", "refused", type=_KINDS, multiple=True, help="From now on; may repeat.")
@output_option
@workspace_option
def formats(
    allowed: tuple[str, ...], refused: tuple[str, ...], output: str, workspace_dir: str | None
) -> None:
    """See or change which files models may have.

    ``pickle``: files that can run code when they are opened; refused unless --allow-pickle is said
    each time. ``unknown``: files of no format that is known; allowed."""
    if set(allowed) & set(refused):
        raise click.UsageError("one of them is to be allowed and refused")
    with open_workspace(workspace_dir) as workspace:
        settings = workspace.settings
        if allowed or refused:
            policy = settings.change_formats(
                pickle=_wanted("pickle", allowed, refused),
                unknown=_wanted("unknown", allowed, refused),
            )
        else:
            policy = settings.formats
    words = {True: "allowed", False: "refused"}
    print_record(
        {"pickle": words[policy.allows_pickle], "unknown": words[policy.allows_unknown]}, output
    )


def _wanted(kind: str, allowed: tuple[str, ...], refused: tuple[str, ...]) -> bool | None:
    """None: nothing is said of it."""
    return kind in allowed if kind in (*allowed, *refused) else None
