"""HAProxy's command socket: one connection for each command, each with a deadline.

    api = RuntimeApi(folder, "api.3.sock", timeout_s=2.0)
    api.set_place("digits.0/s1", "127.0.0.1", 9001)
    api.set_state("digits.0/s1", "ready")
    api.stats().servers

HAProxy answers in words: with ``set severity-output`` each begins with its severity, and whatever
is graver than a notice is a refusal. What is in a command was checked before (words.py); a line's
end or a semicolon in one is refused here all the same.
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

from runtime.balance import states
from runtime.balance.errors import LateError, RefusedError, UnreachableError
from runtime.balance.states import Admin, Info, Stats

TIMEOUT_S = 2.0
WARNING, NOTICE = 4, 5
"""Severities of syslog: a notice and what has a higher number is no refusal."""
_MOVED = re.compile(r"changed from '|^no need to change ")
"""A server's new address is told as a warning, as is an address that is none."""
_SEVERITY = re.compile(r"^\[(\d)\]:", re.M)
_UNKNOWN = "Unknown command"
_NEW_VERSION = re.compile(r"New version created: (\d+)")
_SAFE = re.compile(r"[A-Za-z0-9 _./:@#%+-]*", re.ASCII)
_ADMIN = {"ready": "ready", "drain": "drain", "maintenance": "maint"}


class RuntimeApi:
    """Methods raise UnreachableError, LateError or RefusedError. ``server``: BACKEND/NAME."""

    def __init__(self, folder: Path, name: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.folder = folder
        self.name = name
        self.timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"RuntimeApi({str(self.folder / self.name)!r})"

    def ask(self, command: str, payload: str = "") -> str:
        """What HAProxy answers to one command, without the severity."""
        if _SAFE.fullmatch(command) is None:
            raise RefusedError(ascii(command), "it has characters that no command has")
        asked = f"set severity-output number;{command}"
        if payload:
            # An empty line would end the payload.
            lines = [line for line in payload.splitlines() if line.strip()]
            asked = "\n".join([f"{asked} <<", *lines, ""])
        said = self._exchange(f"{asked}\n")
        worst = min((int(number) for number in _SEVERITY.findall(said)), default=NOTICE)
        answer = _SEVERITY.sub("", said).strip("\n")
        is_moved = worst == WARNING and _MOVED.search(answer)
        if (worst < NOTICE and not is_moved) or answer.startswith(_UNKNOWN):
            raise RefusedError(command, " ".join(answer.split())[:300])
        return answer

    def set_place(self, server: str, address: str, port: int) -> None:
        """Where it listens; what it has begun goes on at its old place."""
        self.ask(f"set server {server} addr {address} port {port}")

    def set_state(self, server: str, state: Admin) -> None:
        """``drain`` and ``maintenance``: no new requests; those that it has are finished."""
        self.ask(f"set server {server} state {_ADMIN[state]}")

    def set_down(self, server: str) -> None:
        """Until its next good answer to a check."""
        self.ask(f"set server {server} health down")

    def set_weight(self, server: str, weight: int) -> None:
        """1 to 256; relative to the others of its backend."""
        self.ask(f"set server {server} weight {weight}")

    def set_max_requests(self, server: str, number: int) -> None:
        """At a time; 0: no limit."""
        self.ask(f"set maxconn server {server} {number}")

    def stats(self) -> Stats:
        """Of all servers, queues and ports."""
        return states.stats(self.ask("show stat"))

    def info(self) -> Info:
        """Of the process."""
        return states.info(self.ask("show info"))

    def map_entries(self, file: str) -> tuple[tuple[str, str], ...]:
        """In order."""
        return states.map_entries(self.ask(f"show map {file}"))

    def replace_map(self, file: str, entries: tuple[tuple[str, str], ...]) -> None:
        """All of it in one step: no request sees a part of the old and a part of the new."""
        found = _NEW_VERSION.search(said := self.ask(f"prepare map {file}"))
        if found is None:
            raise RefusedError(f"prepare map {file}", said)
        if entries:
            lines = "\n".join(f"{key} {value}" for key, value in entries)
            self.ask(f"add map @{found[1]} {file}", lines)
        self.ask(f"commit map @{found[1]} {file}")

    def replace_certificate(self, file: str, pem: str) -> None:
        """For connections that begin from now on."""
        self.ask(f"set ssl cert {file}", pem)
        self.ask(f"commit ssl cert {file}")

    def _exchange(self, text: str) -> str:
        deadline = time.monotonic() + self.timeout_s
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            try:
                link.settimeout(self.timeout_s)
                connect(link, self.folder, self.name)
                link.sendall(text.encode())
                link.shutdown(socket.SHUT_WR)
                return _all(link, deadline).decode(errors="replace")
            except TimeoutError:
                raise LateError(f"HAProxy did not answer within {self.timeout_s:g} s") from None
            except OSError as error:
                raise UnreachableError(f"HAProxy does not answer: {error.strerror}") from None


def connect(link: socket.socket, folder: Path, name: str) -> None:
    """To a socket in a folder whose path may be longer than a socket's can be. Raises OSError."""
    held = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        link.connect(f"/proc/self/fd/{held}/{name}")
    finally:
        os.close(held)


def _all(link: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        link.settimeout(left_s)
        data = link.recv(65536)
        if not data:
            return bytes(received)
        received += data
