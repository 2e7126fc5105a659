"""A container of a Docker Engine, on this machine or another one. The folder is copied into it and
what happens there is heard through it, so that the two machines need share nothing else.

The container has the limits of the configuration, no privileges and no capabilities; its image is
one that the engine has. It is removed with the run. One whose submitter was killed ends by itself
when nobody followed for ``patience_s``, and the next submission to the engine removes it at once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from registry.deployments import Target
from registry.docker_engine import DockerEngine, connect, errors_said
from registry.errors import EngineError
from runtime.submission.config import MB, DockerConfig, RunConfig
from runtime.submission.errors import LostError, PlaceError
from runtime.submission.places.port import Chunks, Stream, Traits

LABEL = "dev.inferry.submission"
TOP = "inferry-run"
CACHE = "/inferry-environments"
VOLUME = "inferry-environments"
CONNECT_S = 10
READ_BYTES = 256 * 1024
_HEADER = struct.Struct(">BxxxI")
_OUT = 1

IsOver = Callable[[str], bool]
"""Whether a run of this workspace, by its id, is known and has ended."""


class DockerPlace:
    """One container. ``is_over``: of which runs containers are left from before."""

    def __init__(self, config: RunConfig, target: Target, run: str, is_over: IsOver) -> None:
        self._config = config.docker
        self._python = config.python.interpreter or "python3"
        self._has_requirements = bool(config.python.requirements)
        self._run = run
        self._container = ""
        self._streams: list[ExecStream] = []
        with _said():
            self._engine = _connected(target)
            try:
                self._image = self._engine.image_id(config.docker.image)
                if self._image is None:
                    raise PlaceError(
                        f"the engine has no image {config.docker.image!a}; pull or load it there"
                    )
                self._sweep(is_over)
            except BaseException:
                self._engine.close()
                raise
        self.traits = Traits(
            python=self._python,
            cache=CACHE,
            key=self._image,
            waits=True,
            is_open=True,
            top=TOP,
        )

    def __repr__(self) -> str:
        return f"DockerPlace({self._container!r})"

    def put(self, chunks: Chunks) -> None:
        """Into a container that is not started yet."""
        with _said(), errors_said("the Docker Engine cannot make the container"):
            client = self._engine.client
            made = client.create_container(
                self._image,
                [f"/{TOP}/agent.py", "run"],
                entrypoint=[self._python],
                labels={LABEL: self._run},
                working_dir="/",
                host_config=client.create_host_config(
                    **host_config(self._config, has_requirements=self._has_requirements)
                ),
            )
            self._container = str(made["Id"])
            client.put_archive(self._container, "/", chunks)

    def start(self) -> None:
        """Its first process is the supervisor."""
        with _said(), errors_said("the Docker Engine cannot start the container"):
            self._engine.client.start(self._container)

    def follow(self) -> Stream:
        """A process in the container. Raises LostError where the engine does not answer."""
        command = [self._python, f"/{TOP}/agent.py", "follow"]
        try:
            with errors_said("the Docker Engine does not answer"):
                client = self._engine.client
                made = client.exec_create(self._container, command, stdin=True)
                stream = ExecStream(client.exec_start(made["Id"], socket=True))
        except EngineError as error:
            raise LostError(str(error)) from error
        self._streams.append(stream)
        return stream

    def gone(self) -> str | None:
        """Whether the container still runs."""
        try:
            with errors_said("the Docker Engine does not answer"):
                state = self._engine.client.inspect_container(self._container)["State"]
        except EngineError as error:
            return "the container is gone" if "No such container" in str(error) else None
        if state.get("Running"):
            return None
        if state.get("OOMKilled"):
            return "the container was out of memory (docker.memory_mb)"
        return f"the container ended (exit code {state.get('ExitCode')})"

    def remove(self) -> None:
        """The container, and all that runs in it."""
        if self._container:
            with suppress(EngineError), errors_said(""):
                self._engine.client.remove_container(self._container, force=True, v=True)
            self._container = ""

    def close(self) -> None:
        """Connections."""
        for stream in self._streams:
            stream.close()
        self._engine.close()

    def _sweep(self, is_over: IsOver) -> None:
        """Containers of runs that have ended without removing them."""
        client = self._engine.client
        with errors_said("the Docker Engine cannot list its containers"):
            for each in client.containers(all=True, filters={"label": [LABEL]}):
                if is_over(str(each["Labels"].get(LABEL, ""))):
                    with suppress(EngineError), errors_said(""):
                        client.remove_container(each["Id"], force=True, v=True)


class ExecStream:
    """A process in a container, over the connection that began it."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._socket: socket.socket = getattr(raw, "_sock", raw)
        self._socket.settimeout(None)
        self._rest = b""
        self._is_closed = False

    def read(self) -> bytes:
        """More of its output; what it complains of is not part of that."""
        while True:
            kind, size = _HEADER.unpack(self._exactly(_HEADER.size) or bytes(_HEADER.size))
            if size == 0:
                return b""
            data = self._exactly(size)
            if kind == _OUT or not data:
                return data

    def write(self, data: bytes) -> None:
        """To its input."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LostError("the connection to the Docker Engine was lost") from error

    def close(self) -> None:
        """The connection ends, and with it the process."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        response: Any = getattr(self._raw, "_response", self._raw)
        for each in (self._raw, response, self._socket):
            with suppress(Exception):  # of what has ended, many kinds
                each.close()

    def _exactly(self, size: int) -> bytes:
        """As many bytes, or none at the end."""
        parts: list[bytes] = []
        while size > 0:
            try:
                data = self._socket.recv(min(size, READ_BYTES))
            except (OSError, ValueError):
                return b""
            if not data:
                return b""
            parts.append(data)
            size -= len(data)
        return b"".join(parts)


def host_config(config: DockerConfig, *, has_requirements: bool) -> dict[str, Any]:
    """What the container may use. Pure."""
    memory = config.memory_mb * MB or None
    gpus: list[dict[str, Any]] = []
    if config.gpus:
        count = -1 if config.gpus == "all" else int(config.gpus)
        gpus = [{"Driver": "", "Count": count, "Capabilities": [["gpu"]]}]
    return {
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": round(config.cpus * 1e9) or None,
        "pids_limit": config.processes or None,
        "shm_size": config.shared_memory_mb * MB or None,
        "network_mode": None if config.network else "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "device_requests": gpus or None,
        "binds": {VOLUME: {"bind": CACHE, "mode": "rw"}} if has_requirements else None,
        "log_config": {"Type": "none", "Config": {}},
    }


def _connected(target: Target) -> DockerEngine:
    from edge.errors import EdgeError
    from runtime.deployments.engines import engine_address

    try:
        return connect(CONNECT_S, address=engine_address(target))
    except EdgeError as error:
        raise PlaceError(str(error)) from error


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise PlaceError(str(error)) from error
