"""``inferry login``, ``logout`` and ``whoami``: the token that this user has for a service."""

from __future__ import annotations

import os
import sys

import click

from runtime.cli.output import output_option, print_done, print_record
from runtime.cli.workspace import is_url, workspace_option
from runtime.errors import BadValueError

MAX_TOKEN_CHARS = 1000


@click.command()
@click.argument("url")
@click.option("--token-stdin", is_flag=True, help="Read the token from standard input.")
@output_option
def login(url: str, token_stdin: bool, output: str) -> None:
    """Keep a token for the service at URL, or for its workspace at URL/NAME.

    Asks for the token, and tries it. It is kept in ~/.config/inferry/tokens.json, which only you
    can read. $INFERRY_TOKEN goes before it."""
    from runtime.remote import parse_place
    from runtime.remote.client import CA, PLAIN, ServiceClient
    from runtime.remote.logins import Logins

    place = parse_place(url)
    token = (
        sys.stdin.readline(MAX_TOKEN_CHARS)
        if token_stdin
        else click.prompt("Token", hide_input=True, err=True)
    ).strip()
    if not token:
        raise BadValueError("the token is empty")
    with ServiceClient.of_user(
        url, {CA: os.environ.get(CA, ""), PLAIN: os.environ.get(PLAIN, "")}, token=token
    ) as client:
        info = client.checked_info()
    Logins.of_user(os.environ).put(place, token)
    known = {"url": str(place), "who": info.who, "role": info.role}
    print_done(known, f"Logged in to {place} as {info.who} ({info.role})", output)


@click.command()
@click.argument("url")
@output_option
def logout(url: str, output: str) -> None:
    """Forget the token for URL. It stays good: inferry registry token revoke ends it."""
    from runtime.remote import parse_place
    from runtime.remote.logins import Logins

    place = parse_place(url)
    if not Logins.of_user(os.environ).remove(place):
        raise BadValueError(f"there is no token for {place}")
    print_done({"url": str(place)}, f"Logged out of {place}", output)


@click.command()
@output_option
@workspace_option
def whoami(output: str, workspace_dir: str | None) -> None:
    """Say whom the service of the workspace takes you for, and what you may do."""
    from runtime.remote.client import ServiceClient

    if workspace_dir is None or not is_url(workspace_dir):
        raise BadValueError("the workspace is a folder, of which you are the owner; give a URL")
    with ServiceClient.of_user(workspace_dir, os.environ) as client:
        info = client.checked_info()
    known = {
        "who": info.who,
        "role": info.role,
        "service": client.place.root,
        "workspace": client.workspace_name,
        "version": info.version,
    }
    print_record(known, output)
