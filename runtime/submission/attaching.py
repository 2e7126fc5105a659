"""What is at a target that runs scripts only, before it is attached: asked now."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from registry.deployments import Target, Targets
from runtime.errors import BadValueError
from runtime.submission.errors import LostError, PlaceError

OLDEST = (3, 11)
NEEDED = ("asyncssh", "fsspec")


def checked(
    target: Target, *, is_asked: bool, known_hosts: Path | None = None
) -> tuple[Mapping[str, str], str]:
    """The settings to keep, of an SSH server with its own key in them; and what is there, in words.
    ``is_asked``: it may be asked; ``known_hosts``: in place of ~/.ssh/known_hosts. Raises
    BadValueError."""
    known_hosts = known_hosts or Path("~/.ssh/known_hosts").expanduser()
    try:
        return _ssh(target, known_hosts, is_asked) if target.kind == "ssh" else _spark(target)
    except (PlaceError, LostError) as error:
        raise BadValueError(f"{error} (--no-check attaches it all the same)") from error


def attach(
    targets: Targets, name: str, kind: str, settings: Mapping[str, str], *, is_asked: bool
) -> tuple[Target, str]:
    """Make it known once it is ``checked``; and what is there, in words. Raises BadValueError and
    what Targets.attach raises."""
    kept, found = checked(targets.checked(name, kind, settings), is_asked=is_asked)
    return targets.attach(name, kind, kept), found


def need_ssh() -> None:
    """Raises PlaceError where the packages are missing."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            raise PlaceError(
                "a target of kind ssh needs packages that are not installed here:"
                " pip install 'inferry[submission]'"
            )


def _ssh(target: Target, known_hosts: Path, is_asked: bool) -> tuple[Mapping[str, str], str]:
    need_ssh()
    settings = dict(target.settings)
    if int(settings.get("port", 22)) > 65_535:
        raise BadValueError("a port is 1 to 65535")
    if not is_asked:
        if not settings.get("host_key", "SHA256:").startswith("SHA256:"):
            return settings, ""
        raise BadValueError("--no-check needs the whole --set host_key='TYPE BASE64'")
    from runtime.datastores.errors import DatastoreError
    from runtime.datastores.ssh.host_keys import pinned
    from runtime.submission.places.ssh import PORT, PYTHON, server_of
    from runtime.submission.ssh.connection import Connection
    from runtime.submission.ssh.programs import FACTS

    try:
        settings["host_key"] = pinned(
            settings["host"],
            int(settings.get("port", PORT)),
            settings.get("host_key"),
            str(known_hosts),
        )
    except DatastoreError as error:
        raise BadValueError(str(error)) from error
    connection = Connection(server_of(replace(target, settings=settings)))
    try:
        python = settings.get("python", PYTHON)
        done = connection.run([python, "-c", FACTS])
    finally:
        connection.close()
    words = done.out.strip().rpartition("\n")[2].split()  # the user's shell may print too
    if done.code != 0 or len(words) != 3:
        raise PlaceError(f"there is no {python} on the target; say --set python=PATH")
    version = tuple(int(part) for part in words[0].split(".")[:2])
    if version < OLDEST:
        raise PlaceError(
            f"the target's Python is {words[0]}; a run needs {OLDEST[0]}.{OLDEST[1]} or newer, say"
            " --set python=PATH"
        )
    return settings, f"Python {words[0]}, {words[1]}, {words[2]} CPUs"


def _spark(target: Target) -> tuple[Mapping[str, str], str]:
    from runtime.submission.places.spark import MASTER, program_of

    program_of(target, os.environ)
    return target.settings, f"spark-submit, master {target.settings.get('master', MASTER)}"
