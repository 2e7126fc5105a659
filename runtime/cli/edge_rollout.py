"""``inferry edge rollout ...``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from runtime.cli.edge_place import DefaultGroup, moment, open_database, user
from runtime.cli.output import Json, Record, output_option, print_done, print_record, print_records
from runtime.cli.workspace import open_workspace, workspace_option

if TYPE_CHECKING:
    from edge.hub.database import Database
    from edge.hub.rollout_policy import OnFailure
    from edge.hub.rollouts import Rollouts, RolloutView
    from edge.messages.desired import Variant
    from registry import Workspace
    from runtime.edge_images import FoundImage

COLUMNS = ("id", "deployment", "module", "image", "state", "batch", "devices", "failed", "reason")
UNDER_WAY = ("running", "rolling back")
LOOK_EVERY_S = 0.3
_watch = click.option("--watch", is_flag=True, help="Follow it until it ends or waits.")
_reason = click.option("--reason", default="", help="Why, for the log.")


@click.group("rollout", cls=DefaultGroup)
def rollout() -> None:
    """Bring a new version to devices step by step, and stop when it does not do well.

    Without a command: list; with an ID: show it."""


@rollout.command("start")
@click.argument("name", metavar="DEPLOYMENT")
@click.argument("module")
@click.argument("image", metavar="IMAGE[:V]")
@click.option(
    "--for",
    "variants",
    type=(str, str),
    multiple=True,
    metavar="CONDITION IMAGE[:V]",
    help="Devices of the condition get this image instead; may repeat. Images that the deployment"
    " has for other conditions stay.",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    metavar="N|P%",
    help="How many devices have it after each batch; may repeat. [default: 1, 5%, 25%, 100%]",
)
@click.option(
    "--success",
    type=click.FloatRange(0, 100, min_open=True),
    default=95.0,
    show_default=True,
    help="Percent of a batch that must succeed before the next.",
)
@click.option(
    "--abort",
    type=click.FloatRange(0, 100, min_open=True),
    default=5.0,
    show_default=True,
    help="Percent of failures among exposed devices that stops it.",
)
@click.option(
    "--abort-minimum",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Devices that must be exposed before --abort counts.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(1),
    default=3600.0,
    show_default=True,
    help="A device that has not done it by then has failed.",
)
@click.option("--soak-s", type=click.FloatRange(0), default=0.0, help="Pause between batches.")
@click.option("--at-once", metavar="N|P%", help="At most so many on their way at a time.")
@click.option("--skip-offline", is_flag=True, help="Devices that are offline get it at the end.")
@click.option(
    "--on-failure",
    type=click.Choice(["roll back", "stop", "pause"]),
    default="roll back",
    show_default=True,
    help="What happens when it is stopped.",
)
@_watch
@output_option
@workspace_option
@click.pass_context
def start(
    ctx: click.Context,
    name: str,
    module: str,
    image: str,
    variants: tuple[tuple[str, str], ...],
    batches: tuple[str, ...],
    success: float,
    abort: float,
    abort_minimum: int,
    timeout_s: float,
    soak_s: float,
    at_once: str | None,
    skip_offline: bool,
    on_failure: OnFailure,
    watch: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Bring IMAGE to the devices of a deployment, as its MODULE."""
    from edge.hub.rollout_policy import Policy
    from edge.hub.rollouts import Rollouts
    from runtime import edge_images
    from runtime.cli.edge_layer import variants as read_variants

    policy = Policy(
        batches=batches or Policy().batches,
        success_percent=success,
        abort_percent=abort,
        abort_minimum=abort_minimum,
        timeout_s=timeout_s,
        soak_s=soak_s,
        at_once=at_once,
        skip_offline=skip_offline,
        on_failure=on_failure,
    )
    database = open_database(workspace_dir)
    rollouts = Rollouts(database)
    with open_workspace(workspace_dir) as workspace:
        found = edge_images.find(workspace, image)
        others = read_variants(variants, lambda ref: edge_images.find(workspace, ref))
        _check_kinds(workspace, database, name, module, found, others)
        edge_images.hold(workspace, name, [found.reference, *(each.image for each in others)])
        try:
            started = rollouts.start(
                name,
                module,
                image=found.reference,
                digest=found.digest,
                variants=others,
                policy=policy,
                by=user(),
            )
        finally:
            edge_images.sync(workspace, database)
    if watch:
        ctx.exit(_follow(rollouts, started.id, output))
    if output == "json":
        print_record(record(started), output)
    else:
        images = ", ".join([found.reference, *(each.image for each in started.new_variants)])
        click.echo(f"Started rollout {started.id}: {started.devices} devices get {images}")


def _check_kinds(
    workspace: Workspace,
    database: Database,
    layer: str,
    module: str,
    image: FoundImage,
    variants: Sequence[Variant],
) -> None:
    """That the module, as the deployment has it, can be of these images."""
    import msgspec

    from edge.hub.deployments import Deployments
    from edge.layering import with_variants
    from runtime.edge_images import check_kinds

    before = Deployments(database).show(layer).layer.module(module)
    if before is not None:
        after = msgspec.structs.replace(before, image=image.reference, digest=image.digest)
        check_kinds(workspace, [with_variants(after, variants)])


@rollout.command("list")
@click.option("--running", is_flag=True, help="Only those that are under way or wait.")
@output_option
@workspace_option
def list_rollouts(running: bool, output: str, workspace_dir: str | None) -> None:
    """List the rollouts, the oldest first."""
    found = _rollouts(workspace_dir).all()
    shown = [view for view in found if not running or view.state in (*UNDER_WAY, "paused")]
    print_records(
        [record(view) if output == "json" else overview(view) for view in shown], COLUMNS, output
    )


@rollout.command("show")
@click.argument("id", type=int)
@_watch
@output_option
@workspace_option
@click.pass_context
def show(ctx: click.Context, id: int, watch: bool, output: str, workspace_dir: str | None) -> None:
    """Show a rollout and its devices.

    With --watch the exit code is 0 when it was completed."""
    rollouts = _rollouts(workspace_dir)
    if watch:
        ctx.exit(_follow(rollouts, id, output))
    known = dict(record(rollouts.show(id)))
    members = rollouts.members(id)
    if output == "json":
        known["members"] = [
            {
                "device": member.device,
                "outcome": member.outcome,
                "batch": None if member.batch is None else member.batch + 1,
                "error": member.error,
                "exposed_at": moment(member.exposed_ms),
            }
            for member in members
        ]
    else:
        known = {key: value for key, value in known.items() if value not in (None, "", {})}
        known["members"] = [
            f"{member.device}: {member.outcome}" + (f", {member.error}" if member.error else "")
            for member in members
        ]
    print_record(known, output)


@rollout.command("pause")
@click.argument("id", type=int)
@_reason
@output_option
@workspace_option
def pause(id: int, reason: str, output: str, workspace_dir: str | None) -> None:
    """No further device gets the new version, for now."""
    _said(_rollouts(workspace_dir).pause(id, by=user(), reason=reason), output)


@rollout.command("resume")
@click.argument("id", type=int)
@_reason
@output_option
@workspace_option
def resume(id: int, reason: str, output: str, workspace_dir: str | None) -> None:
    """Go on; failures until now no longer count."""
    _said(_rollouts(workspace_dir).resume(id, by=user(), reason=reason), output)


@rollout.command("abort")
@click.argument("id", type=int)
@_reason
@output_option
@workspace_option
def abort(id: int, reason: str, output: str, workspace_dir: str | None) -> None:
    """Stop: who has the new version keeps it."""
    _said(_rollouts(workspace_dir).abort(id, by=user(), reason=reason), output)


@rollout.command("rollback")
@click.argument("id", type=int)
@_reason
@_watch
@output_option
@workspace_option
@click.pass_context
def rollback(
    ctx: click.Context, id: int, reason: str, watch: bool, output: str, workspace_dir: str | None
) -> None:
    """Who got the new version gets back what it had; also after the end."""
    rollouts = _rollouts(workspace_dir)
    view = rollouts.roll_back(id, by=user(), reason=reason)
    if not (watch and output == "json"):  # which has a line for each change
        _said(view, output)
    if watch:
        _follow(rollouts, id, output)
        ctx.exit(0 if rollouts.show(id).state == "rolled back" else 1)


def _said(view: RolloutView, output: str) -> None:
    print_done(record(view), f"Rollout {view.id} is {view.state}", output)


def _follow(rollouts: Rollouts, id: int, output: str) -> int:
    """Prints each change until nothing more happens by itself; the exit code."""
    last = None
    for last in changes(lambda: rollouts.show(id)):
        if output == "json":
            click.echo(json.dumps(record(last)))
        else:
            click.echo(line(last))
    return 0 if last is not None and last.state == "completed" else 1


def changes(
    look: Callable[[], RolloutView], wait: Callable[[float], object] = time.sleep
) -> Iterator[RolloutView]:
    """Each state that is another than the one before, until it ends or waits for somebody."""
    last = None
    while True:
        view = look()
        if last is None or line(view) != line(last):
            yield view
        last = view
        if view.state not in UNDER_WAY:
            return
        wait(LOOK_EVERY_S)


def line(view: RolloutView) -> str:
    """A rollout in a line."""
    text = (
        f"rollout {view.id} {view.state}: batch {min(view.batch + 1, view.batches)} of"
        f" {view.batches}, {view.exposed} of {view.devices} devices exposed,"
        f" {view.succeeded} succeeded, {view.failed} failed"
    )
    return f"{text}: {view.reason}" if view.reason else text


def record(view: RolloutView) -> dict[str, Json]:
    """As JSON has it."""
    return {
        "id": view.id,
        "deployment": view.layer,
        "module": view.module,
        "image": view.new_image,
        "digest": view.new_digest,
        "variants": {each.condition: each.image for each in view.new_variants},
        "old_image": view.old_image,
        "old_digest": view.old_digest,
        "state": view.state,
        "reason": view.reason,
        "batch": view.batch + 1,
        "batches": view.batches,
        "targets": list(view.targets),
        "devices": view.devices,
        "exposed": view.exposed,
        "succeeded": view.succeeded,
        "failed": view.failed,
        "outcomes": dict(view.outcomes),
        "by": view.by,
        "started_at": moment(view.created_ms),
        "changed_at": moment(view.changed_ms),
    }


def overview(view: RolloutView) -> Record:
    """On one line of a table."""
    return {
        **record(view),
        "batch": f"{min(view.batch + 1, view.batches)}/{view.batches}",
        "devices": f"{view.exposed}/{view.devices}",
    }


def _rollouts(workspace_dir: str | None) -> Rollouts:
    from edge.hub.rollouts import Rollouts

    return Rollouts(open_database(workspace_dir))
