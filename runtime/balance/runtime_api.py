"""HAProxy's command socket: one connection for each command, each with a deadline.

    api = RuntimeApi(folder, "master.3.sock", timeout_s=2.0)
    api.set_place("digits.0/s1", "127.0.0.1", 9001)
    api.set_state("digits.0/s1", "ready")
    api.stats().servers

The socket is the master's, which passes commands on to its worker: a worker that is finishing what
it had begun hears them there, while it has closed its own socket. HAProxy answers in words, and
says no in words: each command knows what it is answered when it is done, and all else is a refusal.
What is in a command was checked before (words.py); a line's end or a semicolon in one is refused
here all the same.
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
WORKER = "@1 "
"""Before a command that the master passes on."""
_SAFE = re.compile(r"[A-Za-z0-9 _./:@#%+-]*", re.ASCII)
_ADMIN = {"ready": "ready", "drain": "drain", "maintenance": "maint"}
_NOTHING = re.compile(r"")
_MOVED = re.compile(r"(?s).*\bchanged from '.*|no need to change .*")
_NEW_VERSION = re.compile(r"New version created: (\d+)")
_STAGED = re.compile(r"Transaction (created|updated) for certificate .*")
_COMMITTED = re.compile(r"(?s)Committing .*Success!")
_TABLE = re.compile(r"(?s)# .*")
_LINES = re.compile(r"(?s)Name: .*")
_ENTRIES = re.compile(r"(?s)(0x.*)?")
_FINGERPRINT = re.compile(r"(?ms).*^SHA1 FingerPrint: ([0-9A-Fa-f]{40})$.*")
_MASTER = re.compile(r"(?ms).*^(\d+)\s+master\b.*")


class RuntimeApi:
    """Methods raise UnreachableError, LateError or RefusedError. ``server``: BACKEND/NAME."""

    def __init__(self, folder: Path, name: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.folder = folder
        self.name = name
        self.timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"RuntimeApi({str(self.folder / self.name)!r})"

    def ask(self, command: str, done: re.Pattern[str], payload: str = "") -> re.Match[str]:
        """What HAProxy answers to one command, when it is all of ``done``."""
        if _SAFE.fullmatch(command) is None:
            raise RefusedError(ascii(command), "it has characters that no command has")
        asked = command
        if payload:
            # An empty line would end the payload.
            lines = [line for line in payload.splitlines() if line.strip()]
            asked = "\n".join([f"{command} <<", *lines, ""])
        said = self._exchange(f"{asked}\n").strip("\n")
        answer = done.fullmatch(said)
        if answer is None:
            raise RefusedError(command.removeprefix(WORKER), " ".join(said.split())[:300] or "-")
        return answer

    def set_place(self, server: str, address: str, port: int) -> None:
        """Where it listens; what it has begun goes on at its old place."""
        self.ask(f"{WORKER}set server {server} addr {address} port {port}", _MOVED)

    def set_state(self, server: str, state: Admin) -> None:
        """``drain`` and ``maintenance``: no new requests; those that it has are finished."""
        self.ask(f"{WORKER}set server {server} state {_ADMIN[state]}", _NOTHING)

    def set_down(self, server: str) -> None:
        """Until its next good answer to a check."""
        self.ask(f"{WORKER}set server {server} health down", _NOTHING)

    def set_weight(self, server: str, weight: int) -> None:
        """1 to 256; relative to the others of its backend."""
        self.ask(f"{WORKER}set server {server} weight {weight}", _NOTHING)

    def set_max_requests(self, server: str, number: int) -> None:
        """At a time. (0 would be no limit, and leave those that wait waiting.)"""
        self.ask(f"{WORKER}set maxconn server {server} {number}", _NOTHING)

    def stats(self) -> Stats:
        """Of all servers, queues and ports."""
        return states.stats(self.ask(f"{WORKER}show stat", _TABLE)[0])

    def info(self) -> Info:
        """Of the worker."""
        return states.info(self.ask(f"{WORKER}show info", _LINES)[0])

    def master_pid(self) -> int:
        """Of the process whose socket this is."""
        return int(self.ask("show proc", _MASTER)[1])

    def map_entries(self, file: str) -> tuple[tuple[str, str], ...]:
        """In order."""
        return states.map_entries(self.ask(f"{WORKER}show map {file}", _ENTRIES)[0])

    def replace_map(self, file: str, entries: tuple[tuple[str, str], ...]) -> None:
        """All of it in one step: no request sees a part of the old and a part of the new."""
        version = self.ask(f"{WORKER}prepare map {file}", _NEW_VERSION)[1]
        if entries:
            lines = "\n".join(f"{key} {value}" for key, value in entries)
            self.ask(f"{WORKER}add map @{version} {file}", _NOTHING, lines)
        self.ask(f"{WORKER}commit map @{version} {file}", _NOTHING)

    def certificate_sha1(self, file: str) -> str:
        """Of the certificate that is shown now, in hexadecimal digits."""
        return self.ask(f"{WORKER}show ssl cert {file}", _FINGERPRINT)[1].lower()

    def replace_certificate(self, file: str, pem: str) -> None:
        """For connections that begin from now on."""
        self.ask(f"{WORKER}set ssl cert {file}", _STAGED, pem)
        self.ask(f"{WORKER}commit ssl cert {file}", _COMMITTED)

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
