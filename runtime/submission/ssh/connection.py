"""A connection to an SSH server, over which programs are run.

The server must show the key that it was attached with, before anything is said to it. Only key
files and the agent of this machine's user log in; no configuration file is read. A command line
goes through the shell of the user there: its words are quoted, and none of them is a user's text.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncssh

from runtime.datastores.errors import DatastoreError, HostKeyError, RefusedError
from runtime.datastores.remote import wait_for
from runtime.datastores.ssh.host_keys import public_key
from runtime.datastores.ssh.meaning import connecting
from runtime.submission.errors import LostError, PlaceError

CONNECT_S = 15.0
ANSWER_S = 60.0
KEEPALIVE_S = 5.0
READ_BYTES = 256 * 1024
MAX_SAID_CHARS = 400


@dataclass(frozen=True, slots=True)
class Server:
    """Where, and as whom. ``host_key``: ``type base64``; ``key``: path of a private key, without
    which those in ~/.ssh and the agent's are tried."""

    host: str
    port: int
    user: str
    host_key: str
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Done:
    """What a program said, and its exit code."""

    code: int
    out: str
    said: str


class Connection:
    """Open from the beginning. Raises PlaceError where the server refuses, LostError where it
    cannot be reached."""

    def __init__(self, server: Server) -> None:
        self._server = server
        options: dict[str, Any] = {}
        if server.key is not None:
            options = {"client_keys": [server.key], "agent_path": None}
        try:
            self._connection = wait_for(
                asyncssh.connect,
                server.host,
                server.port,
                username=server.user,
                known_hosts=([public_key(server.host_key)], [], []),
                config=None,
                gss_host=None,
                gss_kex=False,
                gss_auth=False,
                password_auth=False,
                disable_trivial_auth=True,
                connect_timeout=CONNECT_S,
                login_timeout=CONNECT_S,
                keepalive_interval=KEEPALIVE_S,
                keepalive_count_max=3,
                longest_s=2 * CONNECT_S,
                **options,
            )
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise PlaceError(
                "the target's key file holds no key that can be read; one with a passphrase belongs"
                " into the agent"
            ) from error
        except FileNotFoundError as error:
            raise PlaceError("there is no key file of the target's setting key") from error
        except Exception as error:
            raise _meaning(error, server) from error

    def __repr__(self) -> str:
        return f"Connection({self._server})"

    def run(self, command: Sequence[str], chunks: Iterable[bytes] = ()) -> Done:
        """A program to its end; ``chunks`` are its input. Raises LostError."""
        process = self._begin(command)
        try:
            with suppress(BrokenPipeError, asyncssh.ChannelOpenError):
                for chunk in chunks:
                    wait_for(_write, process, chunk)
            done = wait_for(_finish, process, longest_s=ANSWER_S)
        except Exception as error:
            raise _meaning(error, self._server) from error
        said = " ".join(_text(done.stderr).split())[-MAX_SAID_CHARS:]
        return Done(-1 if done.exit_status is None else done.exit_status, _text(done.stdout), said)

    def stream(self, command: Sequence[str]) -> SshStream:
        """A program to talk with. Raises LostError."""
        return SshStream(self._begin(command), self._server)

    def close(self) -> None:
        """Whatever state it is in."""
        with suppress(Exception):
            wait_for(_close, self._connection, longest_s=CONNECT_S)

    def _begin(self, command: Sequence[str]) -> Any:
        try:
            return wait_for(
                self._connection.create_process,
                shlex.join(command),
                encoding=None,
                longest_s=ANSWER_S,
            )
        except Exception as error:
            raise _meaning(error, self._server) from error


class SshStream:
    """A program on the server."""

    def __init__(self, process: Any, server: Server) -> None:
        self._process = process
        self._server = server

    def read(self) -> bytes:
        """More of its output."""
        with suppress(Exception):  # a connection ends in many ways, and all are an end
            data: bytes = wait_for(self._process.stdout.read, READ_BYTES)
            return data
        return b""

    def write(self, data: bytes) -> None:
        """To its input."""
        try:
            wait_for(_write, self._process, data, longest_s=ANSWER_S)
        except Exception as error:
            raise _meaning(error, self._server) from error

    def close(self) -> None:
        """The channel ends, and with it the program."""
        with suppress(Exception):
            wait_for(_close_process, self._process, longest_s=CONNECT_S)


async def _write(process: Any, data: bytes) -> None:
    process.stdin.write(data)
    await process.stdin.drain()


async def _finish(process: Any) -> Any:
    process.stdin.write_eof()
    return await process.wait()


async def _close_process(process: Any) -> None:
    process.close()


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()


def _text(data: Any) -> str:
    return data.decode(errors="replace") if isinstance(data, bytes) else str(data or "")


def _meaning(error: Exception, server: Server) -> PlaceError | LostError:
    if isinstance(error, PlaceError | LostError):
        return error
    said: DatastoreError = connecting(error, server.host, server.port)
    if isinstance(said, HostKeyError | RefusedError):
        return PlaceError(str(said))
    return LostError(str(said))
