"""The container engine: what images need of one, and Docker's, on its SDK. The only module that
names the SDK, which is loaded when an engine is looked for and not before.

engine = connect()
finished = engine.run(image, ["-m", "scoring", "--check"], limits=Limits(timeout_s=60), ...)

Docker's errors leave as EngineError, with the daemon's message in one line.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from registry.engine_archive import dockerfile_context, folder_tar
from registry.errors import CancelledError, EngineError
from registry.platforms import ARCHITECTURES, Platform

if TYPE_CHECKING:
    import docker

CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 600
"""Within this the daemon answers or says more; it is silent while it unpacks a large layer."""
END_TIMEOUT_S = 30
"""For a container that has closed its output, or was killed, to end."""
POLL_S = 0.1
MAX_OUTPUT_BYTES = 1024 * 1024
MAX_LINE_CHARS = 4096

OnLine = Callable[[str], None]
IsCancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use. ``tmpfs_bytes`` is the size of /tmp, the only place to write to;
    0 for none."""

    timeout_s: float
    memory_bytes: int = 4 * 1024**3
    processes: int = 1024
    tmpfs_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finished:
    """How a container ended. ``output``: what it printed, its start left out when it is too
    long."""

    exit_code: int
    output: str
    is_timed_out: bool = False
    is_out_of_memory: bool = False


class ContainerEngine(Protocol):
    """Makes, holds and runs images. Every method raises EngineError when the engine fails."""

    def platform(self) -> Platform:
        """What it runs without emulation."""
        ...

    def is_local(self) -> bool:
        """Whether it is on this machine, so that it sees its files."""
        ...

    def image_id(self, name: str) -> str | None:
        """The id (digest of the config) of an image it has, or None."""
        ...

    def layer_chains(self) -> Iterator[tuple[str, ...]]:
        """Of each image it has, the digests of its plain layers from the lowest up. Nothing when
        it stores images so that a layer alone is of no use."""
        ...

    def save(self, name: str) -> Iterator[bytes]:
        """The image as ``docker save`` writes it."""
        ...

    def load(self, chunks: Iterable[bytes]) -> None:
        """Take in what ``docker save`` writes. An image that is there already stays."""
        ...

    def build(
        self,
        context: Path | Iterable[bytes],
        dockerfile: str,
        platform: Platform,
        *,
        tag: str,
        on_line: OnLine,
        is_cancelled: IsCancelled,
    ) -> str:
        """The id of what the Dockerfile's text makes of ``context``: a folder, or a tar. It gets
        the name ``tag``, by which to remove it: an id may be that of the base. Raises EngineError,
        naming the step that failed, and CancelledError."""
        ...

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        limits: Limits,
        mounts: Mapping[Path, str] | None = None,
        entrypoint: Sequence[str] | None = None,
        on_line: OnLine,
        is_cancelled: IsCancelled,
    ) -> Finished:
        """Run a container to its end, as the image's user, without network, privileges or a place
        to write to but /tmp. ``mounts`` (host path to container path) are read-only; without
        ``entrypoint`` the image's stays. The container is gone afterwards, in any case. Raises
        CancelledError."""
        ...

    def remove(self, image: str) -> None:
        """Remove the image; nothing when it is not there."""
        ...


def connect(timeout_s: int = CONNECT_TIMEOUT_S) -> DockerEngine:
    """The Docker Engine of DOCKER_HOST, or of this machine. Raises EngineError when none answers
    within ``timeout_s``."""
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError as error:
        raise EngineError("the package docker is not installed") from error
    with _said("no Docker Engine answers"):
        settings = kwargs_from_env()
        first = docker.APIClient(version="auto", timeout=timeout_s, **settings)
        version = first.version()
        first.timeout = ANSWER_TIMEOUT_S
    return DockerEngine(first, version)


class DockerEngine:
    """The ContainerEngine of a Docker daemon."""

    def __init__(self, client: docker.APIClient, version: Mapping[str, Any]) -> None:
        self._client = client
        self._version = version

    def __repr__(self) -> str:
        return f"DockerEngine({self._version.get('Version')}, {self._client.base_url})"

    def close(self) -> None:
        """Its connections."""
        self._client.close()

    def platform(self) -> Platform:
        name = str(self._version.get("Arch"))
        for architecture in ARCHITECTURES:
            if name == architecture and self._version.get("Os") == "linux":
                return Platform(architecture)
        raise EngineError(f"the Docker Engine runs {self._version.get('Os')}/{name}, not supported")

    def is_local(self) -> bool:
        host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        parts = urlsplit(host)
        return parts.scheme in ("unix", "http+unix", "") or parts.hostname in (
            "localhost",
            "127.0.0.1",
            "::1",
        )

    def image_id(self, name: str) -> str | None:
        import docker

        with _said(f"the Docker Engine cannot look for {name}"):
            try:
                return str(self._inspected(name)["Id"])
            except docker.errors.NotFound:
                return None

    def layer_chains(self) -> Iterator[tuple[str, ...]]:
        with _said("the Docker Engine cannot list its images"):
            status = self._client.info().get("DriverStatus") or ()
            if any("containerd" in str(value) for pair in status for value in pair):
                return
            ids = [image["Id"] for image in self._client.images()]
        for each in ids:
            with contextlib.suppress(EngineError), _said(""):  # removed meanwhile
                yield tuple(self._inspected(each)["RootFS"].get("Layers") or ())

    def save(self, name: str) -> Iterator[bytes]:
        with _said(f"the Docker Engine cannot give the image {name}"):
            yield from self._client.get_image(name)

    def load(self, chunks: Iterable[bytes]) -> None:
        with _said("the Docker Engine cannot load the image"):
            said = self._client.load_image(iter(chunks), quiet=True)  # type: ignore[no-untyped-call]
            for line in said:
                _refuse_error(line, "the Docker Engine cannot load the image")

    def build(
        self,
        context: Path | Iterable[bytes],
        dockerfile: str,
        platform: Platform,
        *,
        tag: str,
        on_line: OnLine,
        is_cancelled: IsCancelled,
    ) -> str:
        chunks = folder_tar(context) if isinstance(context, Path) else context
        name, stream = dockerfile_context(dockerfile, chunks)
        build = _Build(on_line)

        def lines(opened: list[Any]) -> Iterator[Mapping[str, Any]]:
            self._client.hooks["response"] = [lambda response, **_: opened.append(response)]
            with _said("the Docker Engine cannot build the image"):
                yield from self._client.build(
                    fileobj=stream,  # type: ignore[arg-type]
                    custom_context=True,
                    dockerfile=name,
                    platform=str(platform),
                    tag=tag,
                    rm=True,
                    forcerm=True,
                    decode=True,
                )

        try:
            for line in _followed(lines, is_cancelled):
                build.take(line)
        finally:
            self._client.hooks["response"] = []
        return build.image()

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        limits: Limits,
        mounts: Mapping[Path, str] | None = None,
        entrypoint: Sequence[str] | None = None,
        on_line: OnLine,
        is_cancelled: IsCancelled,
    ) -> Finished:
        with _said("the Docker Engine cannot start the container"):
            made = self._client.create_container(
                image,
                list(command),
                entrypoint=None if entrypoint is None else list(entrypoint),
                network_disabled=True,
                labels={"dev.inferry.proof": ""},
                host_config=self._client.create_host_config(**_confined(limits, mounts or {})),
            )
        container = str(made["Id"])
        try:
            return self._run(container, limits.timeout_s, on_line, is_cancelled)
        finally:
            with contextlib.suppress(EngineError), _said(""):
                self._client.remove_container(container, force=True, v=True)

    def remove(self, image: str) -> None:
        import docker

        with _said(f"the Docker Engine cannot remove {image}"):
            try:
                self._client.remove_image(image)
            except docker.errors.NotFound:
                return

    def _inspected(self, image: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._client.inspect_image(image)  # type: ignore[no-untyped-call]
        return found

    def _run(
        self, container: str, timeout_s: float, on_line: OnLine, is_cancelled: IsCancelled
    ) -> Finished:
        client = self._client
        output = _Output(on_line)
        with _said("the Docker Engine cannot start the container"):
            attached = client.attach(container, stdout=True, stderr=True, stream=True)
            client.start(container)
        deadline = time.monotonic() + timeout_s
        is_timed_out = False

        def over() -> bool:
            nonlocal is_timed_out
            is_timed_out = time.monotonic() > deadline
            return is_timed_out or is_cancelled()

        try:
            for chunk in _followed(lambda opened: iter(attached), over):
                output.take(chunk)
        except CancelledError:
            with contextlib.suppress(EngineError), _said(""):  # it may have ended by now
                client.kill(container)
            if not is_timed_out:
                raise
        finally:
            with contextlib.suppress(Exception):  # closing what is closed raises many kinds
                attached.close()
        output.close()
        with _said("the Docker Engine does not say how the container ended"):
            code = client.wait(container, timeout=END_TIMEOUT_S)["StatusCode"]
            state = client.inspect_container(container)["State"]
        return Finished(int(code), output.text, is_timed_out, bool(state.get("OOMKilled")))


def _confined(limits: Limits, mounts: Mapping[Path, str]) -> dict[str, Any]:
    tmpfs = {"/tmp": f"size={limits.tmpfs_bytes},mode=1777,noexec,nosuid,nodev"}
    return {
        "read_only": True,
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": limits.memory_bytes,
        "memswap_limit": limits.memory_bytes,
        "pids_limit": limits.processes,
        "tmpfs": tmpfs if limits.tmpfs_bytes else None,
        "binds": {str(path): {"bind": inside, "mode": "ro"} for path, inside in mounts.items()},
        "log_config": {"Type": "none", "Config": {}},
    }


@dataclass(slots=True)
class _Build:
    """What the builder said so far."""

    on_line: OnLine
    _step: str = ""
    _image: str | None = None

    def take(self, line: Mapping[str, Any]) -> None:
        text = line.get("stream")
        if isinstance(text, str):
            for part in text.splitlines():
                if part.startswith("Step "):
                    self._step = part
                if part.strip():
                    self.on_line(part[:MAX_LINE_CHARS])
        aux = line.get("aux")
        if isinstance(aux, Mapping) and "ID" in aux:
            self._image = str(aux["ID"])
        at = f" at {self._step}" if self._step else ""
        _refuse_error(line, f"the Dockerfile's build failed{at}")

    def image(self) -> str:
        if self._image is None:
            raise EngineError("the Docker Engine made no image of the Dockerfile")
        return self._image


@dataclass(slots=True)
class _Output:
    """A container's output: whole lines to ``on_line``, and its last part as text."""

    on_line: OnLine
    _kept: bytearray = field(default_factory=bytearray)
    _line: bytearray = field(default_factory=bytearray)

    @property
    def text(self) -> str:
        return self._kept[-MAX_OUTPUT_BYTES:].decode("utf-8", "replace")

    def take(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > 2 * MAX_OUTPUT_BYTES:
            del self._kept[:-MAX_OUTPUT_BYTES]
        self._line += chunk
        *whole, rest = self._line.split(b"\n")
        for line in whole:
            self._say(line)
        self._line = rest[:MAX_LINE_CHARS]

    def close(self) -> None:
        if self._line:
            self._say(self._line)

    def _say(self, line: bytearray) -> None:
        self.on_line(line[:MAX_LINE_CHARS].decode("utf-8", "replace").rstrip("\r"))


def _followed(make: Callable[[list[Any]], Iterator[Any]], is_over: IsCancelled) -> Iterator[Any]:
    """What the iterator gives, read by a thread, so that ``is_over`` is heard while the daemon is
    silent: then the connection is cut and CancelledError raised. ``make`` puts the HTTP response
    into the list that it gets, as soon as there is one."""
    opened: list[Any] = []
    heard: queue.Queue[Any] = queue.Queue(maxsize=256)
    left = threading.Event()
    end = object()

    def put(item: Any) -> None:
        while not left.is_set():
            try:
                heard.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for item in make(opened):
                put(item)
                if left.is_set():
                    return
            put(end)
        except BaseException as error:  # raised again where it is heard
            put(error)

    threading.Thread(target=read, name="docker", daemon=True).start()
    try:
        while True:
            if is_over():
                raise CancelledError("cancelled")
            try:
                item = heard.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if item is end:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        left.set()
        for response in opened:
            with contextlib.suppress(Exception):  # it may have ended by now
                response.raw.shutdown()


def _refuse_error(line: Mapping[str, Any], what: str) -> None:
    if "error" in line:
        raise EngineError(f"{what}: {_one_line(line['error'])}")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Docker's errors, and those of the libraries below it, as EngineError."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(f"{what}: {_one_line(error.explanation or error)}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineError(f"{what}: {_one_line(_root(error))}") from error
    except (json.JSONDecodeError, KeyError, OSError) as error:
        raise EngineError(f"{what}: {_one_line(error)}") from error


def _root(error: BaseException) -> BaseException:
    """The first cause, which says more than its wrappers."""
    for _ in range(8):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return error


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:400]
