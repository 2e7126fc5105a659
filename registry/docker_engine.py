"""The container engine: what images need of one, and Docker's, on its SDK. The only module that
names the SDK, which is loaded when an engine is looked for and not before.

engine = connect()
finished = engine.run(image, ["-m", "scoring", "--check"], limits=Limits(timeout_s=60), ...)

Docker's errors leave as EngineError, with the daemon's message in one line.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from registry.engine_address import TLS_FILES, EngineAddress, check_address, tls_words
from registry.engine_archive import dockerfile_context, folder_tar
from registry.engine_output import BuildOutput, ContainerOutput, IsCancelled, OnLine, followed
from registry.errors import CancelledError, EngineError
from registry.platforms import ARCHITECTURES, Platform

if TYPE_CHECKING:
    import docker

CONNECT_TIMEOUT_S = 2
DEFAULT_SOCKET = "/var/run/docker.sock"
OLDEST_API = "1.24"
"""That the SDK speaks: enough to ask for the version."""
SSH_BASE = "http://127.0.0.1:2375"
"""Of the client's URLs; the way is another one."""
ANSWER_TIMEOUT_S = 600
"""Within this the daemon answers or says more; it is silent while it unpacks a large layer."""
END_TIMEOUT_S = 30
"""For a container that has closed its output, or was killed, to end."""


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


def connect(
    timeout_s: int = CONNECT_TIMEOUT_S,
    answer_timeout_s: int = ANSWER_TIMEOUT_S,
    address: EngineAddress | None = None,
) -> DockerEngine:
    """The Docker Engine at ``address``; None: of DOCKER_HOST, or of this machine. Raises
    EngineError when none answers within ``timeout_s``; ``answer_timeout_s``: for each step of what
    is asked later."""
    try:
        import docker
        from docker.utils import kwargs_from_env
    except ImportError as error:
        raise EngineError("the package docker is not installed") from error
    if address is not None:
        return _connected(address, timeout_s, answer_timeout_s)
    with errors_said("no Docker Engine answers"):
        settings = kwargs_from_env()
        _check_socket(settings.get("base_url"))
        first = docker.APIClient(version="auto", timeout=timeout_s, **settings)
        version = first.version()
        first.timeout = answer_timeout_s
    return DockerEngine(first, version)


def _connected(address: EngineAddress, timeout_s: int, answer_timeout_s: int) -> DockerEngine:
    with errors_said(f"no Docker Engine answers at {check_address(address)}"):
        first = _client(address, OLDEST_API, timeout_s)
        try:
            version = first.version(api_version=False)
        finally:
            first.close()
        client = _client(address, str(version["ApiVersion"]), answer_timeout_s)
    return DockerEngine(client, version, is_local=not address.is_elsewhere)


def _client(address: EngineAddress, version: str, timeout_s: int) -> docker.APIClient:
    """Not connected yet."""
    import docker

    if address.parts.scheme == "ssh":
        from registry.engine_ssh import SshAdapter

        client = docker.APIClient(SSH_BASE, version, timeout_s)
        client.mount(client.base_url, SshAdapter(address))
    elif address.tls is not None:
        ca, certificate, key = (str(address.tls / name) for name in TLS_FILES)
        tls = docker.tls.TLSConfig((certificate, key), ca, True)
        client = docker.APIClient(address.url, version, timeout_s, tls)
    else:
        if not address.is_elsewhere:
            _check_socket(address.url)
        client = docker.APIClient(address.url, version, timeout_s)
    # REQUESTS_CA_BUNDLE would go before its ca.pem, and a proxy would see who is root there.
    client.trust_env = False
    return client


def _check_socket(url: str | None) -> None:
    """Raises OSError where nobody listens: the SDK would say so too, but leave its socket open."""
    path = DEFAULT_SOCKET if url is None else urlsplit(url).path
    if url is None or urlsplit(url).scheme in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)


class DockerEngine:
    """The ContainerEngine of a Docker daemon."""

    def __init__(
        self, client: docker.APIClient, version: Mapping[str, Any], *, is_local: bool | None = None
    ) -> None:
        """``is_local`` None: as DOCKER_HOST says."""
        self._client = client
        self._version = version
        self._is_local = is_local

    def __repr__(self) -> str:
        return f"DockerEngine({self._version.get('Version')}, {self._client.base_url})"

    @property
    def client(self) -> docker.APIClient:
        """The SDK's, for who runs containers in another way; see ``errors_said``."""
        return self._client

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
        if self._is_local is not None:
            return self._is_local
        host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        parts = urlsplit(host)
        return parts.scheme in ("unix", "http+unix", "") or parts.hostname in (
            "localhost",
            "127.0.0.1",
            "::1",
        )

    def image_id(self, name: str) -> str | None:
        import docker

        with errors_said(f"the Docker Engine cannot look for {name}"):
            try:
                return str(self._inspected(name)["Id"])
            except docker.errors.NotFound:
                return None

    def layer_chains(self) -> Iterator[tuple[str, ...]]:
        with errors_said("the Docker Engine cannot list its images"):
            status = self._client.info().get("DriverStatus") or ()
            if any("containerd" in str(value) for pair in status for value in pair):
                return
            ids = [image["Id"] for image in self._client.images()]
        for each in ids:
            with contextlib.suppress(EngineError), errors_said(""):  # removed meanwhile
                yield tuple(self._inspected(each)["RootFS"].get("Layers") or ())

    def save(self, name: str) -> Iterator[bytes]:
        with errors_said(f"the Docker Engine cannot give the image {name}"):
            yield from self._client.get_image(name)

    def load(self, chunks: Iterable[bytes]) -> None:
        with errors_said("the Docker Engine cannot load the image"):
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
        build = BuildOutput(on_line)

        def lines() -> Iterator[Mapping[str, Any]]:
            with errors_said("the Docker Engine cannot build the image"):
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

        with self._responses() as responses:
            for line in followed(lines(), responses, is_cancelled):
                build.take(line)
                _refuse_error(line, f"the Dockerfile's build failed{build.at}")
        if build.image_id is None:
            raise EngineError("the Docker Engine made no image of the Dockerfile")
        return build.image_id

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
        with errors_said("the Docker Engine cannot start the container"):
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
            with contextlib.suppress(EngineError), errors_said(""):
                self._client.remove_container(container, force=True, v=True)

    def remove(self, image: str) -> None:
        import docker

        with errors_said(f"the Docker Engine cannot remove {image}"):
            try:
                self._client.remove_image(image)
            except docker.errors.NotFound:
                return

    def _inspected(self, image: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._client.inspect_image(image)  # type: ignore[no-untyped-call]
        return found

    @contextmanager
    def _responses(self) -> Iterator[list[Any]]:
        """The HTTP responses of what is asked in the block: the SDK gives no other way to end
        one that is silent, nor to close it."""
        found: list[Any] = []
        self._client.hooks["response"] = [lambda response, **_: found.append(response)]
        try:
            yield found
        finally:
            self._client.hooks["response"] = []
            for response in found:  # as of a container that did not start after it was attached to
                with contextlib.suppress(Exception):
                    response.close()

    def _kill(self, container: str) -> None:
        with contextlib.suppress(EngineError), errors_said(""):  # it may have ended by now
            self._client.kill(container)

    def _run(
        self, container: str, timeout_s: float, on_line: OnLine, is_cancelled: IsCancelled
    ) -> Finished:
        client = self._client
        output = ContainerOutput(on_line)
        is_timed_out = False

        def is_over() -> bool:
            nonlocal is_timed_out
            late_s = time.monotonic() - deadline
            if late_s > 0 and not is_timed_out:
                is_timed_out = True
                self._kill(container)  # and hear its last words
            return late_s > END_TIMEOUT_S or is_cancelled()

        with self._responses() as responses:
            with errors_said("the Docker Engine cannot start the container"):
                attached = client.attach(container, stdout=True, stderr=True, stream=True)
                client.start(container)
            deadline = time.monotonic() + timeout_s
            try:
                for chunk in followed(attached, responses, is_over):
                    output.take(chunk)
            except CancelledError:
                if is_cancelled() or not is_timed_out:
                    raise
        output.close()
        with errors_said("the Docker Engine does not say how the container ended"):
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


def _refuse_error(line: Mapping[str, Any], what: str) -> None:
    if "error" in line:
        raise EngineError(f"{what}: {_one_line(line['error'])}")


@contextmanager
def errors_said(what: str) -> Iterator[None]:
    """Docker's errors, and those of the libraries below it, as EngineError."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise EngineError(f"{what}: {_one_line(error.explanation or error)}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise EngineError(f"{what}: {_one_line(_root(error))}") from error
    except (ValueError, KeyError, OSError) as error:
        raise EngineError(f"{what}: {_one_line(error)}") from error


def _root(error: BaseException) -> BaseException:
    """The first cause, which says more than its wrappers."""
    for _ in range(8):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    wrapped = error.args[0] if error.args else None  # of urllib3, which does not chain it
    return wrapped if isinstance(wrapped, BaseException) else error


def _one_line(error: object) -> str:
    if isinstance(error, ssl.SSLError):
        return tls_words(error)
    # An OSError's own text has the path in it.
    error = getattr(error, "strerror", None) or error
    return " ".join(str(error).split())[:400]
