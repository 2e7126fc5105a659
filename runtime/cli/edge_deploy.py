"""``inferry edge deploy`` and ``inferry edge deployments ...``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.edge_place import DefaultGroup, moment, open_database, user
from runtime.cli.output import Json, Record, output_option, print_done, print_record, print_records
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from edge.hub.deployments import Deployments, LayerView
    from edge.layering import Layer
    from edge.messages.desired import Module
    from registry import Workspace

COLUMNS = ("name", "target", "priority", "modules", "devices", "rollouts", "changed_at")
MODULE_OPTIONS = (
    *("port", "address", "env", "args", "memory", "cpus", "host", "order"),
    *("restart", "strategy", "watch_s", "shadow_s", "window", "variants"),
)


@click.command("deploy")
@click.argument("name", metavar="DEPLOYMENT")
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@click.option(
    "--module", "modules", multiple=True, metavar="NAME=IMAGE[:V]", help="Runs it; may repeat."
)
@click.option(
    "--for",
    "variants",
    type=(str, str),
    multiple=True,
    metavar="CONDITION IMAGE[:V]",
    help="Devices of the condition run this image as the module instead; may repeat.",
)
@click.option("--without", multiple=True, metavar="NAME", help="Not this one, whatever is below.")
@click.option(
    "--target",
    metavar="CONDITION",
    help='For which devices, as in: site == "berlin" and role in ("camera"). [default: all]',
)
@click.option("--device", metavar="NAME", help="For this device alone, before all others.")
@click.option("--priority", type=int, help="The higher one decides. [default: 0]")
@click.option("--port", type=click.IntRange(1, 65535), help="Where the module answers.")
@click.option("--address", help="On which address. [default: 0.0.0.0]")
@click.option("--env", multiple=True, metavar="KEY=VALUE", help="Environment; may repeat.")
@click.option("--arg", "args", multiple=True, help="An argument of the server; may repeat.")
@click.option("--memory", metavar="SIZE", help="Most memory, such as 256m.")
@click.option("--cpus", type=click.FloatRange(min=0.01), help="Most CPUs, such as 0.5.")
@click.option("--host", type=click.Choice(["docker", "process"]), help="Where it runs.")
@click.option("--order", type=int, help="Modules of a lower one are healthy first.")
@click.option(
    "--restart",
    type=click.Choice(["always", "on-failure", "on-unhealthy", "never"]),
    help="When it ends or is ill. [default: always]",
)
@click.option(
    "--strategy",
    type=click.Choice(["beside", "replace"]),
    help="A new version starts beside the old one, or after its end. [default: beside; of an image"
    " for an FPGA: replace]",
)
@click.option("--watch-s", type=click.FloatRange(min=0), help="A new version is on trial so long.")
@click.option("--shadow-s", type=click.FloatRange(min=0), help="Compare on live requests so long.")
@click.option("--window", multiple=True, metavar="HH:MM-HH:MM", help="When to switch, UTC.")
@click.option(
    "--supersede", is_flag=True, help="Also when a rollout of a module is under way: it ends."
)
@output_option
@workspace_option
def deploy(
    name: str,
    file: Path | None,
    output: str,
    supersede: bool,
    workspace_dir: str | None,
    **options: Any,
) -> None:
    """Say what devices shall run: a layer of modules for the devices of a condition.

    From a FILE (YAML or JSON), or from options; what a deployment of this name has and the options
    do not name is kept. Options of one module (--port, --env, ...) are for those of --module.
    A new version goes to all devices at once: to go step by step, see inferry edge rollout."""
    from edge.hub.deployment_rules import check_layer
    from edge.hub.deployments import Deployments
    from runtime import edge_images

    database = open_database(workspace_dir)
    deployments = Deployments(database)
    with open_workspace(workspace_dir) as workspace:
        read: Layer | EllipsisType | None = ...
        if file is None:
            read = _known_layer(deployments, name)
        layer = check_layer(_layer(workspace, read, name, file, options))
        edge_images.check_kinds(workspace, layer.modules)
        edge_images.hold(workspace, name, _known_images(workspace, layer))
        try:
            changed = deployments.put(layer, by=user(), supersede=supersede, read=read)
        finally:
            edge_images.sync(workspace, database)
    if output == "json":
        print_record({"name": name, "changed_devices": changed}, output)
    else:
        click.echo(f"Deployed {name}: {len(changed)} devices change")


def _known_layer(deployments: Deployments, name: str) -> Layer | None:
    from edge.errors import NotFoundError

    try:
        return deployments.show(name).layer
    except NotFoundError:
        return None


def _layer(
    workspace: Workspace,
    read: Layer | EllipsisType | None,
    name: str,
    file: Path | None,
    options: Mapping[str, Any],
) -> Layer:
    """What the file says, or the options of the layer that there is (``read``)."""
    import msgspec

    from edge.layering import Layer, with_variants
    from runtime import edge_images
    from runtime.cli.edge_layer import module_pairs, read_layer, variants

    def find(ref: str) -> edge_images.FoundImage:
        return edge_images.find(workspace, ref)

    if file is not None:
        if any(map(_is_given, options.values())):
            raise click.UsageError("a FILE says everything; it takes no other options")
        return read_layer(file, name, find)
    layer = read if isinstance(read, Layer) else Layer(name)
    if read is None and not options["modules"] and not options["without"]:
        raise click.UsageError("say which modules: --module NAME=IMAGE:VERSION")
    for module_name, ref in module_pairs(options["modules"]).items():
        found = find(ref)
        before = layer.module(module_name)
        made = _module(module_name, found.reference, found.digest, before, options)
        made = with_variants(made, variants(options["variants"], find))
        layer = layer.with_module(module_name, made)
    if not options["modules"] and any(_is_given(options[key]) for key in MODULE_OPTIONS):
        raise BadValueError("--port, --env and the like are of a module; name it with --module")
    if options["variants"] and len(options["modules"]) > 1:
        raise click.UsageError("--for is of one module; name it alone with --module")
    for module_name in options["without"]:
        layer = layer.with_module(module_name, None)
    return msgspec.structs.replace(
        layer,
        condition=options["target"] or layer.condition,
        device=options["device"] or layer.device,
        priority=layer.priority if options["priority"] is None else options["priority"],
        removed=tuple(
            sorted(
                ({*layer.removed} | {*options["without"]})
                - {module.name for module in layer.modules}
            )
        ),
    )


def _module(
    name: str, image: str, digest: str, before: Module | None, options: Mapping[str, Any]
) -> Module:
    """The module that there was, with what the options say."""
    import msgspec

    from edge import windows
    from edge.messages.desired import Module
    from runtime.cli.edge_layer import size_bytes

    replace = msgspec.structs.replace
    made = replace(before or Module(name, image, digest), image=image, digest=digest)
    for key in ("port", "address", "host", "order"):
        if options[key] is not None:
            made = replace(made, **{key: options[key]})
    if options["env"]:
        made = replace(made, env={**made.env, **pairs(options["env"], "env")})
    if options["args"]:
        made = replace(made, args=options["args"])
    if options["memory"] is not None:
        limits = replace(made.limits, memory_bytes=size_bytes(options["memory"]))
        made = replace(made, limits=limits)
    if options["cpus"] is not None:
        made = replace(made, limits=replace(made.limits, cpus=options["cpus"]))
    if options["restart"] is not None:
        made = replace(made, restart=replace(made.restart, policy=options["restart"]))
    update = {
        key: options[key] for key in ("strategy", "watch_s", "shadow_s") if options[key] is not None
    }
    if options["window"]:
        update["windows"] = tuple(windows.parse(text) for text in options["window"])
    return replace(made, update=replace(made.update, **update))


def _is_given(value: object) -> bool:
    """Whether an option was said: a 0 was, too."""
    return value is not None and value != ()


def _known_images(workspace: Workspace, layer: Layer) -> list[str]:
    """Of the workspace: a module may be of another one's registry."""
    from runtime.edge_images import images_of

    known = {image.reference for image in workspace.images.list()}
    return [image for module in layer.modules for image in images_of(module) if image in known]


@click.group("deployments", cls=DefaultGroup)
def deployments() -> None:
    """See what was deployed, and take it back.

    Without a command: list; with a NAME: show it."""


@deployments.command("list")
@output_option
@workspace_option
def list_deployments(output: str, workspace_dir: str | None) -> None:
    """List the deployments."""
    from edge.hub.deployments import Deployments

    found = Deployments(open_database(workspace_dir)).all()
    print_records([record(view) for view in found], COLUMNS, output)


@deployments.command("show")
@click.argument("name", metavar="DEPLOYMENT")
@output_option
@workspace_option
def show(name: str, output: str, workspace_dir: str | None) -> None:
    """Show a deployment: its modules, and for whom."""
    from edge.hub.deployments import Deployments

    view = Deployments(open_database(workspace_dir)).show(name)
    known = dict(record(view))
    if output == "json":
        import msgspec

        known["modules"] = msgspec.to_builtins(view.layer.modules)
        known["settings"] = msgspec.to_builtins(view.layer.settings)
    print_record(known, output)


@deployments.command("delete")
@click.argument("name", metavar="DEPLOYMENT")
@click.option("--supersede", is_flag=True, help="Also when a rollout of it is under way.")
@output_option
@workspace_option
def delete(name: str, supersede: bool, output: str, workspace_dir: str | None) -> None:
    """Take a deployment back: its devices run what the others say."""
    from edge.hub.deployments import Deployments
    from runtime import edge_images

    database = open_database(workspace_dir)
    changed = Deployments(database).delete(name, by=user(), supersede=supersede)
    with open_workspace(workspace_dir) as workspace:
        edge_images.sync(workspace, database)
    known: Record = {"name": name, "devices": list(changed)}
    print_done(known, f"Deleted {name}: {len(changed)} devices change", output)


@deployments.command("log")
@click.argument("name", metavar="DEPLOYMENT", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many."
)
@output_option
@workspace_option
def log(name: str | None, limit: int, output: str, workspace_dir: str | None) -> None:
    """Who changed what, when."""
    from edge.hub.deployments import Deployments

    entries = Deployments(open_database(workspace_dir)).ledger(layer=name, limit=limit)
    rows: list[Record] = [
        {
            "at": moment(entry.at_ms),
            "who": entry.who,
            "what": entry.what,
            "deployment": entry.layer,
            "module": entry.module,
            "rollout": entry.rollout,
            "device": entry.device,
            "note": entry.note,
        }
        for entry in entries
    ]
    columns = ("at", "who", "what", "deployment", "module", "rollout", "device", "note")
    print_records(rows, columns, output)


def record(view: LayerView) -> dict[str, Json]:
    """A deployment as JSON has it."""
    layer = view.layer
    return {
        "name": layer.name,
        "target": f"device {layer.device}" if layer.device is not None else layer.condition,
        "priority": layer.priority,
        "modules": {module.name: module.image for module in layer.modules},
        "variants": {
            module.name: {each.condition: each.image for each in module.variants}
            for module in layer.modules
            if module.variants
        },
        "without": list(layer.removed),
        "devices": view.devices,
        "rollouts": list(view.rollouts),
        "changed_at": moment(view.changed_ms),
        "changed_by": view.changed_by,
    }
