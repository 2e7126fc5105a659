"""``inferry datastore ...``: named places for files. What moves files is in datastore_files.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runtime.cli.datastore_files import delete, download, ls, upload
from runtime.cli.deployment_values import secret_files
from runtime.cli.output import Record, output_option, print_done, print_record, print_records
from runtime.cli.workspace import is_url, open_workspace, workspace_option
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry.datastores import Datastore

COLUMNS = ("name", "kind", "is_default", "settings")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def datastore() -> None:
    """Name places for files, and move files to and from them.

    The datastore workspace is a folder in the workspace, always there, and the default until
    another is."""


@datastore.command()
@click.argument("name")
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["file", "sftp", "s3"]),
    help="A folder, a folder on an SSH server, or a bucket of an S3 API.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="file: path; sftp: host, port, user, path, host_key; s3: bucket, prefix, endpoint, region,"
    " addressing, access_key_id; reach=public: at public addresses only. May repeat.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="KEY=FILE",
    help="From a file, or from standard input for KEY=-. sftp: private_key or password; s3:"
    " secret_access_key, session_token. May repeat.",
)
@click.option("--replace", is_flag=True, help="In the place of one of that name.")
@output_option
@workspace_option
def attach(
    name: str,
    kind: str,
    settings: tuple[str, ...],
    secrets: tuple[str, ...],
    replace: bool,
    output: str,
    workspace_dir: str | None,
) -> None:
    """Make the datastore NAME known, once it has answered."""
    given = _settings(settings)
    opened = _secrets(secrets)
    with open_workspace(workspace_dir) as workspace:
        if is_url(workspace_dir):  # the service looks whether it is there
            workspace.datastores.attach(name, kind, given, opened, replace=replace)
        else:
            from runtime.datastores import Datastore

            Datastore.attach(workspace, name, kind, given, opened, replace=replace).close()
        made = workspace.datastores.get(name)
    if output == "json":
        print_record(record(made), output)
        return
    click.echo(f"Attached {made.name}")
    if kind == "sftp":
        click.echo(f"Its host key is kept: {made.settings['host_key']}")


@datastore.command("list")
@output_option
@workspace_option
def list_datastores(output: str, workspace_dir: str | None) -> None:
    """List the datastores."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.datastores.list()
    print_records([record(item) for item in found], COLUMNS, output)


@datastore.command()
@click.argument("name", required=False)
@output_option
@workspace_option
def show(name: str | None, output: str, workspace_dir: str | None) -> None:
    """Show a datastore, or the default; of secrets only the names."""
    with open_workspace(workspace_dir) as workspace:
        stores = workspace.datastores
        found = stores.get(name) if name is not None else stores.get_default()
    print_record(record(found), output)


@datastore.command()
@click.argument("name")
@output_option
@workspace_option
def default(name: str, output: str, workspace_dir: str | None) -> None:
    """Make NAME the one that is meant where none is named."""
    with open_workspace(workspace_dir) as workspace:
        found = workspace.datastores.set_default(name)
    print_done(record(found), f"The default is {found.name}", output)


@datastore.command()
@click.argument("name")
@output_option
@workspace_option
def detach(name: str, output: str, workspace_dir: str | None) -> None:
    """Forget a datastore and its secrets; its files stay where they are."""
    with open_workspace(workspace_dir) as workspace:
        gone = workspace.datastores.detach(name)
    print_done(record(gone), f"Detached {gone.name}", output)


for command in (upload, download, ls, delete):
    datastore.add_command(command)


def record(item: Datastore) -> Record:
    """A datastore as JSON has it."""
    return {
        "name": item.name,
        "kind": item.kind,
        "is_default": item.is_default,
        "settings": dict(item.settings),
        "secrets": list(item.secrets),
        "attached_at": item.attached_at,
        "users": list(item.users),
    }


def _settings(texts: tuple[str, ...]) -> dict[str, str]:
    """The value is no part of a complaint: it may be a secret in the wrong place."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise BadValueError("--set wants KEY=VALUE")
        if key in found:
            raise BadValueError(f"--set {key[:60]!a} is given twice")
        found[key] = value
    return found


def _secrets(texts: tuple[str, ...]) -> dict[str, bytes]:
    if sum(text.endswith("=-") for text in texts) > 1:
        raise BadValueError("only one --secret can come from standard input")
    found: dict[str, bytes] = {}
    for key, value in secret_files(texts).items():
        if value is None:
            raise BadValueError(f"--secret {key[:60]!a} names no file")
        found[key] = value
    return found
