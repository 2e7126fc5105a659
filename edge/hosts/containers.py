"""A host of containers, in the Docker Engine of this device.

host = DockerHost("site-7", stock)
host.prepare(digest, lambda: False)       # from the device's store, without a network
host.start(Instance(InstanceId("digits", "live"), digest, port=8001))
host.close()

The engine may go away and come back: each call that finds none raises HostError, soon, and the next
one connects anew. It may be another machine's, too (``address``): then containers have no folders
of this one, and secrets go another way (container_secrets.py).
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import HostError
from edge.hosts.boot import boot_id
from edge.hosts.container_secrets import clear, secrets_volume
from edge.hosts.container_settings import (
    LABEL,
    MODULE,
    REPOSITORY,
    SLOT,
    SPEC,
    check_elsewhere,
    check_platform,
    confinement,
    container_name,
    entrypoint,
    environment,
    image_name,
    labels,
    observed,
)
from edge.hosts.durability import sync_file_system
from edge.hosts.fingerprint import fingerprint
from edge.hosts.port import Instance, InstanceId, Observed
from edge.stock.port import Stock, StoredLayer
from registry.docker_engine import DockerEngine, connect, errors_said
from registry.engine_address import EngineAddress
from registry.engine_archive import EngineLayer, load_image
from registry.errors import EngineError

if TYPE_CHECKING:
    import docker

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 30
"""For an answer to anything but the loading of an image."""
ELSEWHERE = "elsewhere"
"""In place of a boot of this machine."""
LOAD_TIMEOUT_S = 600
"""The engine is silent while it unpacks a large layer."""


class DockerHost:
    """The ModuleHost of a Docker Engine. ``device`` is its name: an engine may have several
    agents, each of which sees its own. ``list_age_s``: how old may be what ``list`` tells of
    changes that are not its own, so that many keepers do not keep the engine busy."""

    kind = "docker"

    def __init__(
        self,
        device: str,
        stock: Stock,
        *,
        connect_timeout_s: int = CONNECT_TIMEOUT_S,
        answer_timeout_s: int = ANSWER_TIMEOUT_S,
        list_age_s: float = 0.0,
        boot: str | None = None,
        address: EngineAddress | None = None,
    ) -> None:
        self._device, self._stock, self._address = device, stock, address
        self._is_elsewhere = address is not None and address.is_elsewhere
        if boot is None:  # what another machine has begun ends with it, and says how
            boot = ELSEWHERE if self._is_elsewhere else boot_id()
        self._boot = boot
        self._list_age_s = list_age_s
        self._listed: tuple[float, Sequence[Observed]] | None = None
        self._changes = 0
        self._timeouts = (connect_timeout_s, answer_timeout_s)
        self._engine: DockerEngine | None = None
        self._connecting = threading.Lock()
        self._loading = threading.Lock()
        self._changing: defaultdict[InstanceId, threading.RLock] = defaultdict(threading.RLock)
        self._seen: dict[tuple[str, str], Observed] = {}
        """By container and state: what does not change any more."""

    def __repr__(self) -> str:
        return f"DockerHost({self._device}, {self._engine or 'not connected'})"

    def close(self) -> None:
        """Its connections; containers go on."""
        with self._connecting:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
        image, name = self._stock.image(digest), image_name(self._device, digest)
        if image.kind != "container":
            raise HostError(f"{image.name or digest} has no base; it runs as a process, not here")
        while not self._loading.acquire(timeout=0.2):
            _check(is_cancelled)
        try:
            _check(is_cancelled)
            with self._asked(f"the image {digest} could not be loaded"):
                engine = connect(self._timeouts[0], LOAD_TIMEOUT_S, self._address)
                with contextlib.closing(engine):
                    check_platform(image, engine.platform())
                    if engine.image_id(name) is None:
                        layers = [self._layer(each, is_cancelled) for each in image.layers]
                        load_image(engine, image.config, image.config_digest, layers, name)
                        _make_durable(engine)
        finally:
            self._loading.release()

    def start(self, instance: Instance) -> None:
        with self._changing[instance.id], self._asked(f"{instance.id} could not be started") as to:
            wanted = fingerprint(instance)
            for found in self._containers(to, instance.id):
                if found["State"] == "running" and found["Labels"].get(SPEC) == wanted:
                    return
                self._remove(to, found["Id"], ANSWER_TIMEOUT_S // 3)
            self._start(to, instance, wanted)
            self._changed()

    def stop(self, id: InstanceId, grace_s: float = 10.0) -> None:
        with self._changing[id], self._asked(f"{id} could not be stopped") as to:
            for found in self._containers(to, id):
                self._remove(to, found["Id"], grace_s)
            if self._is_elsewhere:
                clear(to, self._device, id)
            self._changed()

    def reload(self, id: InstanceId) -> None:
        with self._asked(f"{id} could not be reloaded") as to:
            running = [each for each in self._containers(to, id) if each["State"] == "running"]
            if not running:
                raise HostError(f"{id} does not run")
            to.kill(running[0]["Id"], signal="SIGHUP")

    def list(self) -> Sequence[Observed]:
        listed, now, changes = self._listed, time.monotonic(), self._changes
        if listed is not None and now - listed[0] < self._list_age_s:
            return listed[1]
        found = self._list()
        if changes == self._changes:
            self._listed = now, found
        return found

    def _changed(self) -> None:
        """What was listed, or is just being listed, is old."""
        self._changes += 1
        self._listed = None

    def _list(self) -> Sequence[Observed]:
        with self._asked("the containers cannot be listed") as to:
            seen: dict[tuple[str, str], Observed] = {}
            for found in self._containers(to):
                key = (found["Id"], found["State"])
                known = self._seen.get(key) or self._look(to, found["Id"])
                if known is not None:
                    seen[key] = known
        # One that runs and has no port yet, or that changed meanwhile, is looked at again.
        self._seen = {
            key: each
            for key, each in seen.items()
            if (each.state == "exited" and key[1] in ("exited", "dead"))
            or (each.port is not None and key[1] == "running")
        }
        return sorted(seen.values(), key=lambda each: str(each.id))

    def logs(self, id: InstanceId, lines: int) -> str:
        with self._asked(f"what {id} printed cannot be read") as to:
            for found in self._containers(to, id):
                said = to.logs(found["Id"], tail=lines)
                return bytes(said).decode(errors="replace")
        return ""

    def discard(self, keep: Sequence[str]) -> None:
        with self._asked("old images cannot be removed") as to:
            kept = {image_name(self._device, digest) for digest in keep}
            kept |= {str(found["Image"]) for found in self._containers(to)}
            for image in to.images(name=f"{REPOSITORY}/*"):
                for name in image.get("RepoTags") or ():
                    if name.endswith(f":{self._device}") and name not in kept:
                        _remove_image(to, name)

    def _start(self, to: docker.APIClient, instance: Instance, wanted: str) -> None:
        import docker

        try:
            if not self._is_elsewhere:
                self._run(to, instance, wanted, None)
                return
            check_elsewhere(instance)
            python = self._stock.image(instance.digest).python_path
            name = image_name(self._device, instance.digest)
            with secrets_volume(to, self._device, instance, name, python) as volume:
                self._run(to, instance, wanted, volume)
        except docker.errors.ImageNotFound:
            raise HostError(f"the image {instance.digest} is not prepared") from None

    def _run(
        self, to: docker.APIClient, instance: Instance, wanted: str, volume: str | None
    ) -> None:
        config = b"{}" if instance.bundle is None else self._stock.image(instance.digest).config
        own = entrypoint(instance, config)
        made = to.create_container(
            image_name(self._device, instance.digest),
            list(instance.args),
            entrypoint=None if own is None else list(own),
            name=container_name(self._device, instance.id),
            environment=environment(instance),
            labels=labels(self._device, instance, wanted, self._boot),
            host_config=to.create_host_config(**confinement(instance, volume)),
        )
        try:
            to.start(made["Id"])
        except BaseException:  # a port that another has, most of all
            with contextlib.suppress(Exception):
                to.remove_container(made["Id"], force=True, v=True)
            raise

    def _containers(
        self, to: docker.APIClient, id: InstanceId | None = None
    ) -> Sequence[Mapping[str, Any]]:
        wanted = [f"{LABEL}={self._device}"]
        if id is not None:
            wanted += [f"{MODULE}={id.module}", f"{SLOT}={id.slot}"]
        found: Sequence[Mapping[str, Any]] = to.containers(all=True, filters={"label": wanted})
        return found

    def _look(self, to: docker.APIClient, container: str) -> Observed | None:
        import docker

        try:
            return observed(to.inspect_container(container), self._boot)
        except docker.errors.NotFound:  # removed meanwhile
            return None

    def _remove(self, to: docker.APIClient, container: str, grace_s: float) -> None:
        import docker

        with contextlib.suppress(docker.errors.NotFound):
            to.stop(container, timeout=math.ceil(grace_s))
            to.remove_container(container, force=True, v=True)

    def _layer(self, layer: StoredLayer, is_cancelled: Callable[[], bool]) -> EngineLayer:
        def chunks() -> Iterator[bytes]:
            for chunk in self._stock.chunks(layer.digest):
                _check(is_cancelled)
                yield chunk

        return EngineLayer(layer.diff_id, layer.size_bytes, partial(chunks))

    @contextlib.contextmanager
    def _asked(self, what: str) -> Iterator[docker.APIClient]:
        """The client; its errors as HostError. One that fails but for what the engine itself
        says is not used again."""
        import docker

        try:
            with self._connecting:
                if self._engine is None:
                    self._engine = connect(*self._timeouts, self._address)
                engine = self._engine
            with errors_said(what):
                yield engine.client
        except EngineError as error:
            if not isinstance(error.__cause__, docker.errors.APIError):
                self.close()
            raise HostError(str(error)) from error


def has_docker() -> bool:
    """Whether an engine answers here now."""
    try:
        connect().close()
    except EngineError:
        return False
    return True


def _check(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise HostError("the preparing was cancelled")


def _make_durable(engine: DockerEngine) -> None:
    """The engine does not: after a power cut an image may be there with files of no bytes."""
    if not engine.is_local():
        return
    with contextlib.suppress(OSError, KeyError):
        sync_file_system(Path(engine.client.info()["DockerRootDir"]))
        return
    os.sync()


def _remove_image(to: docker.APIClient, name: str) -> None:
    import docker

    with contextlib.suppress(docker.errors.NotFound):
        try:
            to.remove_image(name)
        except docker.errors.APIError as error:
            if error.status_code != 409:  # in use all the same
                raise
