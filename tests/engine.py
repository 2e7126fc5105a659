"""Real programs for tests of images: a Docker Engine, a Debian base, Debian's docker-registry.

A fixture skips with the command that would install what is missing; under INFERRY_STRICT=1 (CI)
that skip is a failure. What a test makes in the engine goes with it, whether it passes or not.

    def test_it_runs(engine: Engine, engine_base: str) -> None:
        container = engine.container(engine_base, "sleep", "60")
        engine.run("cp", "file", f"{container}:/file")

    def test_it_is_pulled(engine: Engine) -> None:
        ref = engine.tag()               # a name that no other test has; removed afterwards

    def test_it_is_pushed(docker_registry: DockerRegistry) -> None: ...  # docker_registry.host

    def test_with_a_password(registries: Registries, tmp_path: Path) -> None:
        registry = registries(user=True, certificate=(cert_pem_path, key_pem_path))
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import platform
import queue
import re
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "run scripts/system-packages as root"
LABEL = "inferry.test"
# docker-registry knows bcrypt only; this is the hash of the password.
USER, PASSWORD = "tester", "let-me-in"
HTPASSWD = f"{USER}:$2b$05$7AipPDlR/ZvCHMbfu8llL.2l2/4woT0rLbFDjzwBSCg645NBC39HK\n"


def program(name: str, wanted: str = PACKAGES) -> str:
    """Where that program is; skips the test without it."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"needs {name}: {wanted}")
    return path


@dataclass(frozen=True, slots=True)
class Engine:
    """The Docker Engine, for one test."""

    owner: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _tags: list[str] = field(default_factory=list)

    def run(self, *arguments: str, stdin: IO[bytes] | None = None, timeout_s: float = 120) -> str:
        """What ``docker ARGUMENTS`` prints. Raises AssertionError with its complaint."""
        done = _docker(*arguments, stdin=stdin, timeout_s=timeout_s)
        said = done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {said}"
        return done.stdout.decode(errors="replace").strip()

    def tag(self) -> str:
        """A reference that no other test uses; an image of this name is removed afterwards."""
        return self.owned(f"inferry-test/{uuid.uuid4().hex[:12]}:1")

    def owned(self, ref: str) -> str:
        """Has this image removed afterwards, as one that the test pulled from a registry."""
        self._tags.append(ref)
        return ref

    def container(self, *arguments: str) -> str:
        """The id of one that runs: ``docker run --detach ARGUMENTS``; removed afterwards."""
        return self.run("run", "--detach", "--label", f"{LABEL}={self.owner}", *arguments)

    def port(self, container: str, inside: int) -> int:
        """The loopback port of one that it publishes (``-p 127.0.0.1::INSIDE``)."""
        return int(self.run("port", container, str(inside)).splitlines()[0].rpartition(":")[2])

    def tidy(self) -> None:
        """Removes all that this test made."""
        left = _docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.owner}")
        if containers := left.stdout.decode().split():
            _docker("rm", "--force", "--volumes", *containers)
        if self._tags:
            _docker("image", "rm", "--force", *self._tags)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The Docker Engine that answers here; what the test makes in it is removed."""
    require_engine()
    found = Engine()
    try:
        yield found
    finally:
        found.tidy()


def require_engine() -> None:
    """Skips the test without a Docker Engine."""
    program("docker")
    if (why := _why_no_engine()) is not None:
        pytest.skip(f"needs the Docker Engine (scripts/docker-engine start): {why}")


@functools.cache
def _why_no_engine() -> str | None:
    done = _docker("version", "--format", "{{.Server.Version}}", timeout_s=20)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip()


def _docker(
    *arguments: str, stdin: IO[bytes] | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["docker", *arguments],
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture(scope="session")
def debian_base() -> Path:
    """A tar of a Debian root file system with python3, of this machine's release."""
    path = ROOT / f"build/base/{_release()}-{_architecture()}.tar"
    if not path.exists():
        pytest.skip(f"no {path.relative_to(ROOT)}: run scripts/test-base as root")
    return path


@pytest.fixture(scope="session")
def engine_base(debian_base: Path) -> str:
    """The reference of ``debian_base`` as an image of the engine; stays there for the next run."""
    require_engine()
    ref = f"inferry-test-base:{_release()}"
    version = f"{debian_base.stat().st_size}-{debian_base.stat().st_mtime_ns}"
    with _alone("engine-base"):
        look = ["image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}.base"}}}}', ref]
        if _docker(*look).stdout.decode().strip() != version:
            path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            changes = ["--change", f"LABEL {LABEL}.base={version}", "--change", f"ENV {path}"]
            _docker("image", "rm", ref)  # of an older tar, which would stay without a name
            Engine().run("import", *changes, str(debian_base), ref)
    return ref


def _release() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@contextlib.contextmanager
def _alone(what: str) -> Iterator[None]:
    """One process of this user at a time: pytest-xdist runs several."""
    with (Path(tempfile.gettempdir()) / f"inferry-test-{what}-{os.getuid()}.lock").open(
        "w"
    ) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """Debian's docker-registry on loopback; ``root`` holds its blobs, ``log`` what it says."""

    host: str
    root: Path
    log: Path
    is_tls: bool = False

    @property
    def url(self) -> str:
        """Where ``/v2/`` is."""
        return f"{'https' if self.is_tls else 'http'}://{self.host}"


class Registries(Protocol):
    """Starts a docker-registry: with one user (USER, PASSWORD), with a certificate and its key."""

    def __call__(
        self, *, user: bool = False, certificate: tuple[Path, Path] | None = None
    ) -> DockerRegistry: ...


@pytest.fixture
def docker_registry(registries: Registries) -> DockerRegistry:
    """An empty docker-registry, plain HTTP and open to all."""
    return registries()


@pytest.fixture
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    """Starts registries of any kind; all end with the test."""
    with contextlib.ExitStack() as running:

        def start(
            *, user: bool = False, certificate: tuple[Path, Path] | None = None
        ) -> DockerRegistry:
            folder = tmp_path_factory.mktemp("docker-registry")
            return running.enter_context(
                running_docker_registry(folder, user=user, certificate=certificate)
            )

        yield start


@contextlib.contextmanager
def running_docker_registry(
    folder: Path, *, user: bool = False, certificate: tuple[Path, Path] | None = None
) -> Iterator[DockerRegistry]:
    """One that serves while the block runs; skips the test where it is not installed."""
    command = program("docker-registry")
    config, log = folder / "config.yml", folder / "log"
    config.write_text(_registry_config(folder, user, certificate))
    process = subprocess.Popen(
        [command, "serve", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    hosts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, log, hosts))
    reader.start()
    try:
        host = hosts.get(timeout=30)
        assert host is not None, f"docker-registry did not start: {log.read_text()}"
        yield DockerRegistry(host, folder / "storage", log, is_tls=certificate is not None)
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _read(said: IO[bytes], log: Path, hosts: queue.SimpleQueue[str | None]) -> None:
    """Keeps what it says; the first line about it tells the port that the kernel chose."""
    with log.open("wb", buffering=0) as sink:
        for line in said:
            sink.write(line)
            if found := re.search(rb"listening on (127\.0\.0\.1:\d+)", line):
                hosts.put(found[1].decode())
    hosts.put(None)


def _registry_config(folder: Path, user: bool, certificate: tuple[Path, Path] | None) -> str:
    http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "of one test"}
    if certificate is not None:
        http["tls"] = dict(zip(("certificate", "key"), map(str, certificate), strict=True))
    storage = {
        "filesystem": {"rootdirectory": str(folder / "storage")},
        "delete": {"enabled": True},
    }
    config: dict[str, object] = {"version": "0.1", "storage": storage, "http": http}
    if user:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    return json.dumps(config)  # JSON is YAML


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker ``engine`` on a test that reaches the engine by itself."""
    if item.get_closest_marker("engine") is not None:
        require_engine()
