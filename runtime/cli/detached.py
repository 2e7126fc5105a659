"""A command that goes on in a process of its own, in a session that no terminal ends.

    id = detached(click.get_current_context())     # the first process, with --detach
    let_go()                                       # the second one, with --let-go

The second process says which run it has begun, and until it lets go what is wrong; the first one
ends then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

OURS = ("detach", "let_go", "output")


def detached(ctx: click.Context) -> str:
    """Begin this command once more, with the same options; what it printed until it let go. Exits
    with code 1 where it began nothing: it has said why."""
    command = [sys.executable, "-m", "runtime.cli.main", *_words(ctx)]
    process = subprocess.Popen(
        ["/bin/sh", "-c", '"$@" &', "sh", *command],  # a shell that ends leaves no child of ours
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    with process.stdout as printed:
        said = printed.read().decode()
    process.wait()
    if not said:
        ctx.exit(1)
    return said.strip()


def let_go() -> None:
    """What is printed from now on goes nowhere, and nobody waits for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):
        os.dup2(nowhere, handle)
    os.close(nowhere)


def _words(ctx: click.Context) -> Iterator[str]:
    """The command with its options, as it is typed."""
    names = []
    each: click.Context | None = ctx
    while each is not None and each.parent is not None:
        names.append(each.info_name or "")
        each = each.parent
    yield from (*reversed(names), "--let-go")
    rest: list[str] = []
    for parameter in ctx.command.params:
        if parameter.name in OURS:
            continue
        values = _values(ctx.params[parameter.name or ""])
        if isinstance(parameter, click.Argument):
            rest += values
            continue
        for value in values:
            yield f"{parameter.opts[0]}={value}"
    yield from ("--", *rest)


def _values(value: object) -> list[str]:
    """None and flags that are not given are no words; a path is the same elsewhere."""
    if value is None or value is False:
        return []
    if isinstance(value, tuple | list):
        return [word for each in value for word in _values(each)]
    return [str(value.absolute()) if isinstance(value, Path) else str(value)]
