"""``inferry edge hub|enroll|broker-config|agent``."""

from __future__ import annotations

import signal
import threading
from pathlib import Path, PurePosixPath

import click

from runtime.cli.edge_place import open_database
from runtime.cli.output import output_option, print_done
from runtime.cli.values import pairs
from runtime.cli.workspace import open_workspace, workspace_option

_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("hub")
@click.option("--broker", metavar="HOST[:PORT]", help="Where devices are met. [default: 8883]")
@click.option("--server-name", help="In the broker's certificate, when it is not HOST.")
@click.option("--embedded-broker", is_flag=True, help="Run a broker too: for a laptop.")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:0",
    show_default=True,
    help="Of the embedded broker; port 0 takes a free one.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics here.")
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Of telemetry.",
)
@click.option(
    "--keep-gib",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Of telemetry, in all.",
)
@workspace_option
def hub(
    broker: str | None,
    server_name: str | None,
    embedded_broker: bool,
    listen: str,
    metrics_port: int | None,
    keep_days: float,
    keep_gib: float,
    workspace_dir: str | None,
) -> None:
    """Say what devices shall run, and hear them, until Ctrl-C or SIGTERM."""
    from runtime.edge_hub import Address, HubOptions, run

    if (broker is None) != embedded_broker:
        raise click.UsageError("say either --broker HOST:PORT or --embedded-broker")
    options = HubOptions(
        broker=None if broker is None else Address.parse(broker),
        server_name=server_name,
        listen=Address.parse(listen, lowest=0),
        metrics_port=metrics_port,
        keep_days=keep_days,
        keep_gib=keep_gib,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_workspace(workspace_dir) as workspace:
        run(workspace, options, say=click.echo, stop=stop)


@click.command("enroll")
@click.argument("device")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="May repeat.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder, or a .tar. [default: DEVICE.tar]"
)
@click.option("--broker", required=True, metavar="HOST[:PORT]", help="As the device reaches it.")
@click.option("--server-name", help="In the broker's certificate, when it is not HOST.")
@click.option("--registry", metavar="URL", help="Where images come from, as https://HOST:PORT.")
@click.option("--registry-ca", type=_file, help="Authorities of its certificate, PEM.")
@click.option(
    "--keepalive-s",
    type=click.IntRange(5, 65_535),
    default=60,
    show_default=True,
    help="On a metered link 900.",
)
@click.option(
    "--state", metavar="DIR", help="What the agent keeps. [default: /var/lib/inferry-edge]"
)
@output_option
@workspace_option
def enroll(
    device: str,
    tags: tuple[str, ...],
    out: Path | None,
    broker: str,
    server_name: str | None,
    registry: str | None,
    registry_ca: Path | None,
    keepalive_s: int,
    state: str | None,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Take a device into the fleet: write its certificate, token and configuration.

    The result is secret: whoever has it is that device. Once more for the same device makes new
    ones; the old ones stay good until inferry edge devices revoke."""
    from runtime.edge_enrolment import Enrolment, enroll
    from runtime.edge_hub import Address

    target = out or Path(f"{device}.tar")
    enrolment = Enrolment(
        broker=Address.parse(broker),
        registry=registry,
        registry_ca=registry_ca,
        server_name=server_name,
        keepalive_s=keepalive_s,
        state=state,
        tags=pairs(tags, "tag"),
    )
    database = open_database(workspace_dir)
    with open_workspace(workspace_dir) as workspace:
        enroll(workspace, database, device, enrolment, target)
    said = f"Enrolled {device}: {target} is secret; bring it to the device"
    print_done({"name": device, "path": str(target)}, said, output)


@click.command("broker-config")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A name or address by which devices reach the broker; may repeat.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8883, show_default=True, help="TLS.")
@click.option("--data", metavar="DIR", help="Where mosquitto keeps what it holds for others.")
@output_option
@workspace_option
def broker_config(
    folder: Path,
    hosts: tuple[str, ...],
    port: int,
    data: str | None,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Write mosquitto's configuration, rights and certificates into FOLDER."""
    from runtime.edge_enrolment import write_broker_files

    with open_workspace(workspace_dir) as workspace:
        write_broker_files(
            workspace, folder, list(hosts), port=port, data=PurePosixPath(data) if data else None
        )
    said = f"Wrote {folder}; start it with: mosquitto -c {folder / 'mosquitto.conf'}"
    print_done({"path": str(folder)}, said, output)


@click.command("agent")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="agent.toml.")
@click.option("--stop-modules", is_flag=True, help="Stop the modules too at the end.")
@click.option("--verbose", is_flag=True, help="Log more.")
@click.pass_context
def agent(ctx: click.Context, config: Path | None, stop_modules: bool, verbose: bool) -> None:
    """Run the agent of this device, as python3 -m edge agent does."""
    from edge.agent.main import run

    arguments = ["agent"]
    if config is not None:
        arguments += ["--config", str(config)]
    arguments += ["--stop-modules"] * stop_modules + ["--verbose"] * verbose
    ctx.exit(run(arguments))
