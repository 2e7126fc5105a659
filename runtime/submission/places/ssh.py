"""An SSH server. The script goes on there while the connection is lost, and is followed again when
it is back; when nobody followed for ``patience_s``, it is ended and its folder removed."""

from __future__ import annotations

from contextlib import suppress

from registry.deployments import Target
from runtime.submission.config import RunConfig
from runtime.submission.errors import LostError, PlaceError
from runtime.submission.places.port import Chunks, Stream, Traits
from runtime.submission.ssh.connection import Connection, Server
from runtime.submission.ssh.programs import IS_THERE, REMOVE, UNPACK

PORT = 22
FOLDER = "~/.inferry/runs"
PYTHON = "python3"
END_S = 20.0
"""For a supervisor to end what it runs."""


def server_of(target: Target) -> Server:
    """Raises PlaceError for one that was attached without its host key."""
    settings = target.settings
    if "host_key" not in settings:
        raise PlaceError(
            f"the target {target.name} has no host key; detach it, and attach it without --no-check"
        )
    return Server(
        host=settings["host"],
        port=int(settings.get("port", PORT)),
        user=settings["user"],
        host_key=settings["host_key"],
        key=settings.get("key"),
    )


class SshPlace:
    """One folder on the server. It connects at once, and again when the connection was lost."""

    def __init__(self, config: RunConfig, target: Target, run: str) -> None:
        self._server = server_of(target)
        self._python = target.settings.get("python", PYTHON)
        self._wanted = f"{target.settings.get('path', FOLDER)}/{run}"
        self._folder = ""
        self._connection: Connection | None = None
        self.traits = Traits(
            python=config.python.interpreter or self._python, waits=True, removes=True
        )
        try:
            self._connected()
        except LostError as error:
            raise PlaceError(str(error)) from error

    def __repr__(self) -> str:
        return f"SshPlace({self._server}, {self._folder!r})"

    def put(self, chunks: Chunks) -> None:
        """Unpacked by a Python there."""
        done = self._connected().run([self._python, "-c", UNPACK, self._wanted], chunks)
        if done.code != 0:
            raise PlaceError(f"the folder cannot be made on the target: {done.said or done.code}")
        self._folder = done.out.strip().splitlines()[-1]  # the user's shell may print too

    def start(self) -> None:
        """In a session of its own."""
        done = self._connected().run([self._python, f"{self._folder}/agent.py", "detached"])
        if done.code != 0:
            raise PlaceError(f"the run cannot be started on the target: {done.said or done.code}")

    def follow(self) -> Stream:
        """A program that reads the folder."""
        try:
            return self._connected().stream([self._python, f"{self._folder}/agent.py", "follow"])
        except LostError:
            self._forget()
            raise

    def gone(self) -> str | None:
        """Whether the folder is there, as far as that can be asked."""
        if self._connection is None:
            return None
        try:
            done = self._connection.run([self._python, "-c", IS_THERE, self._folder])
        except LostError:
            self._forget()
            return None
        return "the run's folder on the target is gone" if done.code == 1 else None

    def remove(self) -> None:
        """By a program there; where it is out of reach, the supervisor does it later."""
        if self._folder:
            with suppress(LostError, PlaceError):
                command = [self._python, "-c", REMOVE, self._folder, str(END_S)]
                self._connected().run(command)

    def close(self) -> None:
        """The connection."""
        self._forget()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._server)
        return self._connection

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
