"""The options of hooks around a change of scale, for ``deploy`` and ``deployment update``."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.deployment_values import Finite, secret_file
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry.deployments import Hooks

Given = Mapping[str, Any]
_HOOKS = "Around a change of scale"
_URL = {"metavar": "URL"}
_COMMAND = {"metavar": "'PROGRAM ARG...'"}
_FIELDS = ("before_webhook", "after_webhook", "before_command", "after_command")
CAN_BE_UNSET = tuple(f"{each.split('_')[0]}-scale-{each.split('_')[1]}" for each in _FIELDS)

# Section, name, what click is told besides.
OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    (
        *(_HOOKS, "--before-scale-webhook"),
        {**_URL, "help": "Is asked by a POST before each; 409 puts it off."},
    ),
    (
        *(_HOOKS, "--before-scale-command"),
        {**_COMMAND, "help": "Runs before each, as the controller's user; 75 puts it off."},
    ),
    (*(_HOOKS, "--after-scale-webhook"), {**_URL, "help": "Is told by a POST how each went."}),
    (
        *(_HOOKS, "--after-scale-command"),
        {**_COMMAND, "help": "Runs after each, as the controller's user."},
    ),
    (
        *(_HOOKS, "--hook-timeout-s"),
        {"type": Finite(0.1, 300), "help": "That a hook may take. [default: 5]"},
    ),
    (
        *(_HOOKS, "--hook-secret"),
        {"metavar": "FILE|-", "help": "Signs webhooks; kept as the secret hook-secret."},
    ),
]


def hooks_of(given: Given, before: Hooks) -> Hooks:
    """``before`` with what is given. Raises BadValueError for a program that is not there."""
    import msgspec

    changes: dict[str, Any] = {}
    for field in _FIELDS:
        moment, kind = field.split("_")
        name = f"{moment}_scale_{kind}"
        if f"{moment}-scale-{kind}" in given.get("unset", ()):
            changes[field] = None if kind == "webhook" else ()
        elif given[name] is not None:
            changes[field] = given[name] if kind == "webhook" else command(given[name], name)
    if given["hook_timeout_s"] is not None:
        changes["timeout_s"] = given["hook_timeout_s"]
    return msgspec.structs.replace(before, **changes)


def hook_secret(given: Given) -> dict[str, bytes]:
    """By its name, where one is given. Raises BadValueError where it cannot be read."""
    from registry.deployments.hooks import SECRET

    if given["hook_secret"] is None:
        return {}
    found = secret_file(SECRET, Path(given["hook_secret"]))
    if not found.strip():
        raise BadValueError("--hook-secret is empty, and signs nothing")
    return {SECRET: found}


def command(text: str, name: str) -> tuple[str, ...]:
    """A program with its whole path, and its arguments, quoted as for a shell; none sees them.
    Raises BadValueError."""
    option = f"--{name.replace('_', '-')}"
    try:
        program, *arguments = shlex.split(text)
    except ValueError as error:
        raise BadValueError(f"{option} {text[:60]!a} says no program: {error}") from error
    found = str(Path(program).absolute()) if os.sep in program else shutil.which(program)
    if found is None or not os.path.isfile(found) or not os.access(found, os.X_OK):
        raise BadValueError(f"{option}: {program[:200]!a} is no program that can be run here")
    return found, *arguments
