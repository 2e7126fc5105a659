"""``inferry registry``: serve the workspace's images at ``/v2/``, and say who may come in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime.cli.output import output_option, print_done, print_record, print_records
from runtime.cli.registry_formats import formats
from runtime.cli.workspace import is_url, open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry.distribution.tokens import Role, Token, Tokens
    from runtime.remote.upkeep import RemoteTokens
    from runtime.workspace_service.service import MakePart

DAY_S = 86_400.0
_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def registry() -> None:
    """Serve the workspace's images to docker, podman, skopeo and devices."""


@registry.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5000,
    show_default=True,
    help="0 takes a free one, which the line that it is ready names.",
)
@click.option("--tls-cert", type=_file, help="The certificate with its chain, PEM.")
@click.option("--tls-key", type=_file, help="The certificate's key, PEM.")
@click.option(
    "--insecure-http", is_flag=True, help="Listen beyond this machine without TLS all the same."
)
@click.option(
    "--public-host",
    multiple=True,
    metavar="NAME",
    help="A name by which a proxy on this machine is reached; several are allowed.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1, 100_000),
    default=512,
    show_default=True,
    help="At once, idle ones too; more are answered 503.",
)
@click.option(
    "--allow-internal",
    is_flag=True,
    help="Contributors may send it to addresses that are not public, by the base of an image or a"
    " Dockerfile.",
)
@click.option(
    "--no-local-code",
    is_flag=True,
    help="Clients may run no code on this machine: no scripts and no deployments on targets of kind"
    " local or spark. Else a contributor's run as the user that serves.",
)
@click.option(
    "--compile-minutes",
    type=click.IntRange(1, 24 * 60),
    default=30,
    show_default=True,
    help="The most that compiling a model for an FPGA may take.",
)
@click.option(
    "--compile-memory",
    type=click.IntRange(min=256),
    metavar="MIB",
    help="The most memory that it may have. [default: a quarter of the machine's, at most 8192]",
)
@click.option("--access-log", is_flag=True, help="Print a line for each request.")
@click.option(
    "--workspace",
    "-w",
    "workspaces",
    multiple=True,
    envvar="INFERRY_WORKSPACE",
    metavar="[NAME=]DIR",
    help="A workspace folder; may repeat. [default: $INFERRY_WORKSPACE, else .inferry near]",
)
def serve(
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure_http: bool,
    public_host: tuple[str, ...],
    max_connections: int,
    allow_internal: bool,
    no_local_code: bool,
    compile_minutes: int,
    compile_memory: int | None,
    access_log: bool,
    workspaces: tuple[str, ...],
) -> None:
    """Serve the registry until Ctrl-C or SIGTERM.

    Without tokens (inferry registry token create) only this machine can reach it, and everyone on
    it may read and write. Beyond this machine it needs tokens and TLS."""
    from runtime.fpga_compiler.process import limits_of
    from runtime.registry_service.config import ServiceConfig
    from runtime.run_service import RunService
    from runtime.workspace_service.server import serve as run  # 0.3 s that only serve pays
    from runtime.workspace_service.site import read_roots

    config = ServiceConfig(
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        is_insecure=insecure_http,
        public_hosts=public_host,
        has_access_log=access_log,
        max_connections=max_connections,
    )
    if not workspaces:
        with open_workspace(None) as found:
            workspaces = (str(found.root),)
    if any(is_url(given) for given in workspaces):
        raise BadValueError("a service serves folders of its machine, and no other service")
    run(
        read_roots(workspaces),
        config,
        click.echo,
        allows_internal=allow_internal,
        allows_local_code=not no_local_code,
        work=RunService,
        compile_limits=limits_of(compile_minutes, compile_memory),
        portal=_portal(),
    )


def _portal() -> MakePart | None:
    """The pages at /ui; None where their extra is not installed."""
    try:
        from runtime.portal.app import PortalApp
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "markupsafe"):
            raise
        click.echo("There are no pages at /ui: install inferry[portal]", err=True)
        return None
    return PortalApp


registry.add_command(formats)


@registry.group()
def token() -> None:
    """Who may read from and write to the registry."""


@token.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["puller", "reader", "contributor", "owner"]),
    default="reader",
    show_default=True,
    help="What it allows: pull images; see all; change all; say who may come in, too.",
)
@click.option(
    "--expires-days",
    type=click.FloatRange(min=0, max=36_500, min_open=True),
    help="After which it is worthless. [default: never]",
)
@output_option
@workspace_option
def create(
    name: str,
    role: Role,
    expires_days: float | None,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Make a token and print it, this once: docker login --username NAME --password-stdin.

    With the first token the registry closes to everyone who has none."""
    if expires_days is not None and not math.isfinite(expires_days):
        raise click.UsageError("--expires-days must be a number of days")
    lifetime_s = None if expires_days is None else expires_days * DAY_S
    with _tokens(workspace_dir) as tokens:
        secret = tokens.create(name, role, lifetime_s)
    if output == "json":
        print_record({"name": name, "role": role, "token": secret}, output)
    else:
        click.echo(secret)


@token.command(name="list")
@output_option
@workspace_option
def list_(output: str, workspace_dir: str | None) -> None:
    """List tokens, without their secrets."""
    with _tokens(workspace_dir) as tokens:
        records = [_record(token) for token in tokens.list()]
    print_records(records, ["name", "role", "created_at", "expires_at", "revoked_at"], output)


@token.command()
@click.argument("name")
@output_option
@workspace_option
def revoke(name: str, output: str, workspace_dir: str | None) -> None:
    """Make a token useless, at once."""
    with _tokens(workspace_dir) as tokens:
        tokens.revoke(name)
    print_done({"name": name, "revoked": True}, f"Revoked {name}", output)


@contextmanager
def _tokens(workspace_dir: str | None) -> Iterator[Tokens | RemoteTokens]:
    """Those of a folder, or of a service, whose owners have them."""
    if is_url(workspace_dir):
        from runtime.remote import RemoteWorkspace

        with RemoteWorkspace(str(workspace_dir)) as remote:
            yield remote.tokens
        return
    with open_workspace(workspace_dir) as workspace:
        from registry.distribution import Distribution

        yield Distribution.open(workspace.root).tokens


def _record(token: Token) -> dict[str, str | None]:
    return {
        "name": token.name,
        "role": token.role,
        "created_at": _time(token.created_at),
        "expires_at": _time(token.expires_at),
        "revoked_at": _time(token.revoked_at),
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
