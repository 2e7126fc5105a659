"""Reads the values of the options of deployments: replicas, shares, times, secrets, who did it."""

from __future__ import annotations

import math
import os
import re
import socket
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.edge_place import user
from runtime.errors import BadValueError

if TYPE_CHECKING:
    from registry.deployments import Share

MAX_ACTOR_CHARS = 256
_REPLICAS = re.compile(r"([0-9]{1,9})(?:\.\.([0-9]{1,9}))?", re.ASCII)
_SHARE = re.compile(r"([0-9]{1,9})=([0-9]{1,3}(?:\.[0-9]{1,9})?)", re.ASCII)


class Replicas(click.ParamType[tuple[int, int]]):
    """``3`` or ``1..5``, as the least and the largest number."""

    name = "replicas"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Both numbers."""
        if isinstance(value, tuple):
            return value
        found = _REPLICAS.fullmatch(value)
        if found is None:
            self.fail(f"{value[:60]!a} is no number of replicas; say 3 or 1..5", param, ctx)
        least, most = int(found[1]), int(found[2] or found[1])
        if least > most:
            self.fail(f"{least} replicas at least and {most} at most is no range", param, ctx)
        return least, most


class Finite(click.FloatRange):
    """A number in a range, which NaN is not."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!a} is no number that can be meant", param, ctx)
        return found


def who() -> str:
    """Who does it, for the ledger: ``$INFERRY_ACTOR``, else user@host. Raises BadValueError."""
    named = os.environ.get("INFERRY_ACTOR")
    if not named:
        return _tame(f"{user()}@{socket.gethostname()}")
    if len(named) > MAX_ACTOR_CHARS or not named.isprintable():
        raise BadValueError(
            f"$INFERRY_ACTOR must be printable text of at most {MAX_ACTOR_CHARS} characters"
        )
    return named


def environment(texts: Iterable[str]) -> dict[str, str]:
    """Of KEY=VALUE. Raises BadValueError where there is no ``=``, or a key is given twice."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise BadValueError(f"--env {text[:60]!a} is no KEY=VALUE")
        if found.get(key, value) != value:
            raise BadValueError(f"--env {key[:60]!a} is given twice, with different values")
        found[key] = value
    return found


def secret_files(texts: Iterable[str]) -> dict[str, bytes | None]:
    """Of NAME=FILE, as what is in the files; None for ``NAME=``, which takes it away. Raises
    BadValueError where there is no ``=`` or the file cannot be read."""
    found: dict[str, bytes | None] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not (name and equals):
            raise BadValueError(f"--secret {text[:60]!a} is no NAME=FILE")
        if name in found:
            raise BadValueError(f"--secret {name[:60]!a} is given twice")
        found[name] = secret_file(name, Path(file)) if file else None
    return found


def secret_file(name: str, file: Path) -> bytes:
    """What is in it, or on standard input for ``-``; a byte more than is allowed where there is
    more. Raises BadValueError."""
    from registry.deployments.sealing import MAX_SECRET_BYTES

    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)
        with file.open("rb") as opened:
            return opened.read(MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadValueError(
            f"the secret {name[:60]!a} cannot be read from {str(file)!a}: {why}"
        ) from error


def memory_bytes(text: str) -> int:
    """Of "512MiB" or "1g". Raises BadValueError."""
    from runtime.cli.edge_layer import size_bytes

    try:
        return size_bytes(text)
    except OverflowError as error:
        raise BadValueError(f"{text[:60]!a} is more memory than there is") from error


def shares(texts: Sequence[str], shadows: Sequence[str]) -> list[Share]:
    """Of REVISION=PERCENT. Raises BadValueError."""
    return [*(_share(text, False) for text in texts), *(_share(text, True) for text in shadows)]


def moment_of(text: str) -> str:
    """A time as the ledger writes it: UTC, whole seconds. Without a zone it is UTC. Raises
    BadValueError."""
    try:
        found = datetime.fromisoformat(text.strip())
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadValueError(
            f"{text[:60]!a} is no time; say 2026-11-27T12:00:00Z, or a day"
        ) from error
    return found.isoformat(timespec="seconds").replace("+00:00", "Z")


def _share(text: str, is_shadow: bool) -> Share:
    from registry.deployments import Share

    found = _SHARE.fullmatch(text)
    if found is None:
        raise BadValueError(f"{text[:60]!a} is no share of the traffic; say REVISION=PERCENT: 1=90")
    return Share(int(found[1]), float(found[2]), is_shadow)


def _tame(text: str) -> str:
    """A host may have any name."""
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_ACTOR_CHARS]
