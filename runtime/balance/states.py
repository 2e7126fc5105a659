"""What HAProxy says of itself, as records; pure.

``show stat`` is a table of CSV whose header names its columns, ``show info`` lines of ``Name:
value``, ``show map`` lines of ``pointer key value``. Columns that this file does not know may come;
one that it needs and does not find raises RuntimeApiError.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runtime.balance.errors import RuntimeApiError

Admin = Literal["ready", "drain", "maintenance"]


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a backend. ``admin``: what it was told to be; ``is_up``: health, as last seen
    (False in maintenance). ``in_flight``: requests that it works on; ``queued``: that wait for it
    alone. The totals are since this process of HAProxy began."""

    backend: str
    name: str
    address: str
    port: int
    admin: Admin
    is_up: bool
    weight: int
    max_requests: int
    in_flight: int
    queued: int
    requests: int
    failed_connections: int
    failed_answers: int
    retried: int
    redispatched: int
    answers_5xx: int
    check: str

    @property
    def key(self) -> tuple[str, str]:
        """Its backend's name and its own."""
        return (self.backend, self.name)


@dataclass(frozen=True, slots=True)
class Queue:
    """One backend as a whole: ``waiting`` for any of its servers, and ``in_flight``."""

    backend: str
    waiting: int
    in_flight: int
    requests: int
    mean_queue_ms: int
    mean_answer_ms: int


@dataclass(frozen=True, slots=True)
class Port:
    """One frontend. ``refused``: answered by HAProxy itself, such as with 401 or 429."""

    name: str
    connections: int
    requests: int
    refused: int
    answers_2xx: int
    answers_4xx: int
    answers_5xx: int


@dataclass(frozen=True, slots=True)
class Stats:
    """All of ``show stat``."""

    servers: tuple[Server, ...]
    queues: tuple[Queue, ...]
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Info:
    """Of one process. ``is_stopping``: it finishes what had begun, and takes nothing new.
    ``description``: the shape of its configuration."""

    version: str
    pid: int
    uptime_s: int
    connections: int
    is_stopping: bool
    description: str = ""


def stats(text: str) -> Stats:
    """Of ``show stat``."""
    servers, queues, ports = [], [], []
    for row in _rows(text):
        kind = row.text("svname")
        if kind == "FRONTEND":
            ports.append(_port(row))
        elif kind == "BACKEND":
            queues.append(_queue(row))
        elif row.text("addr") != "unix" and not row.text("tracked"):
            servers.append(_server(row))  # neither ``again`` nor one that only tracks another
    return Stats(tuple(servers), tuple(queues), tuple(ports))


def info(text: str) -> Info:
    """Of ``show info``."""
    found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    try:
        return Info(
            version=found["Version"],
            pid=int(found["Pid"]),
            uptime_s=int(found["Uptime_sec"]),
            connections=int(found["CurrConns"]),
            is_stopping=found["Stopping"] != "0",
            description=found.get("description", ""),
        )
    except (KeyError, ValueError) as error:
        raise RuntimeApiError(f"HAProxy's info has no {error}") from None


def map_entries(text: str) -> tuple[tuple[str, str], ...]:
    """Of ``show map FILE``."""
    entries = []
    for line in filter(None, text.splitlines()):
        try:
            _, key, value = line.split(" ", 2)
        except ValueError:
            raise RuntimeApiError(f"HAProxy's map has a line {line!r}") from None
        entries.append((key, value))
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class _Row:
    columns: dict[str, int]
    cells: list[str]

    def text(self, column: str) -> str:
        at = self.columns.get(column, len(self.cells))
        if at >= len(self.cells):
            raise RuntimeApiError(f"HAProxy's statistics have no column {column}")
        return self.cells[at]

    def number(self, column: str) -> int:
        text = self.text(column) or "0"
        if not text.removeprefix("-").isdecimal():
            raise RuntimeApiError(f"HAProxy's statistics have {column}={text!r}")
        return int(text)


def _rows(text: str) -> Iterator[_Row]:
    if not text.startswith("# "):
        raise RuntimeApiError(f"these are no statistics of HAProxy: {text[:60]!r}")
    table = csv.reader(text[2:].splitlines())
    columns = {name: at for at, name in enumerate(next(table, [])) if name}
    if "svname" not in columns:
        raise RuntimeApiError(f"these are no statistics of HAProxy: {text[:60]!r}")
    return (_Row(columns, cells) for cells in table if cells)


def _server(row: _Row) -> Server:
    status = row.text("status")
    address, _, port = row.text("addr").rpartition(":")
    if not port.isdecimal():
        raise RuntimeApiError(f"HAProxy's statistics have addr={row.text('addr')!r}")
    admin: Admin = "ready"
    if status.startswith("MAINT"):
        admin = "maintenance"
    elif status.startswith("DRAIN"):
        admin = "drain"
    return Server(
        backend=row.text("pxname"),
        name=row.text("svname"),
        address=address.removeprefix("[").removesuffix("]"),
        port=int(port),
        admin=admin,
        is_up=status.startswith(("UP", "NOLB", "DRAIN", "no check")),
        weight=row.number("uweight"),
        max_requests=row.number("slim"),
        in_flight=row.number("scur"),
        queued=row.number("qcur"),
        requests=row.number("stot"),
        failed_connections=row.number("econ"),
        failed_answers=row.number("eresp"),
        retried=row.number("wretr"),
        redispatched=row.number("wredis"),
        answers_5xx=row.number("hrsp_5xx"),
        check=" ".join(filter(None, (row.text("check_status"), row.text("last_chk")))),
    )


def _queue(row: _Row) -> Queue:
    return Queue(
        backend=row.text("pxname"),
        waiting=row.number("qcur"),
        in_flight=row.number("scur"),
        requests=row.number("stot"),
        mean_queue_ms=row.number("qtime"),
        mean_answer_ms=row.number("rtime"),
    )


def _port(row: _Row) -> Port:
    return Port(
        name=row.text("pxname"),
        connections=row.number("scur"),
        requests=row.number("req_tot"),
        refused=row.number("intercepted"),
        answers_2xx=row.number("hrsp_2xx"),
        answers_4xx=row.number("hrsp_4xx"),
        answers_5xx=row.number("hrsp_5xx"),
    )
