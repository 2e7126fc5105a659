"""What a host is asked for: the instance of a revision, with its limits, environment and secrets.

instances = Instances("web", deployments, host, environ={}, secret_files=None)
delays = instances.prepare(declared, (1, 2), now_s)
instances.describe(declared)(2)           # the instance, its id left empty, and its health
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edge.errors import EdgeError
from edge.hosts.port import Instance, InstanceId, ModuleHost
from edge.messages.desired import Limits
from registry.deployments import Deployment, Deployments, Health, Revision
from registry.errors import RegistryError
from runtime.deployments.secret_files import SecretFiles

LOOPBACK = "127.0.0.1"
Describe = Callable[[int], tuple[Instance, Health]]
"""The instance of a revision (its id left empty) and how its health is asked; KeyError where there
is no such revision."""


RETRY_S, DOUBT_S = 5.0, 30.0
"""Until an image is prepared again that could not be, and one that was."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """``delay``: why it was not."""

    at_s: float
    delay: str | None


class Instances:
    """Of one deployment on one host. ``environ``: what the target adds to each replica's."""

    def __init__(
        self,
        name: str,
        deployments: Deployments,
        host: ModuleHost,
        *,
        environ: Mapping[str, str],
        address: str = LOOPBACK,
        secret_files: SecretFiles | None,
    ) -> None:
        self._name, self._deployments, self._host = name, deployments, host
        self._environ, self._secret_files = dict(environ), secret_files
        self._address = address
        self._prepared: dict[str, _Prepared] = {}

    def __repr__(self) -> str:
        return f"Instances({self._name}, {len(self._prepared)} images are ready)"

    def prepare(
        self,
        declared: Deployment,
        revisions: Iterable[int],
        now_s: float,
        *,
        doubted: Collection[int] = (),
    ) -> Mapping[int, str]:
        """Their images are ready to start, then; returns why some are not. ``doubted``: revisions
        whose replicas do not run: somebody may have removed what was ready."""
        delays = {}
        for revision in revisions:
            digest = declared.revision(revision).digest
            known = self._prepared.get(digest)
            again_s = DOUBT_S if known is not None and known.delay is None else RETRY_S
            is_due = known is None or now_s - known.at_s >= again_s
            if known is None or (is_due and (known.delay is not None or revision in doubted)):
                known = self._prepared[digest] = _Prepared(now_s, self._prepare(digest))
            if known.delay is not None:
                delays[revision] = known.delay
        return delays

    def _prepare(self, digest: str) -> str | None:
        try:
            self._host.prepare(digest, lambda: False)
        except EdgeError as error:
            return str(error)
        return None

    def describe(self, declared: Deployment) -> Describe:
        """What it gives writes the secrets as they are now, and may raise EdgeError."""

        def described(number: int) -> tuple[Instance, Health]:
            revision = declared.revision(number)
            found = instance_of(revision, self._address)
            return replace(
                found,
                env={**self._environ, **found.env},
                secrets_folder=self._secrets(revision),
            ), revision.settings.health

        return described

    def forget(self) -> None:
        """The deployment is gone, and its secrets with it. Idempotent."""
        if self._secret_files is not None:
            self._secret_files.remove(self._name)

    def _secrets(self, revision: Revision) -> Path | None:
        if not revision.settings.secrets or self._secret_files is None:
            return None
        try:
            values = self._deployments.secrets(self._name)
        except RegistryError as error:
            raise EdgeError(str(error)) from error
        return self._secret_files.written(
            self._name, revision.number, revision.settings.secrets, values
        )


def instance_of(revision: Revision, address: str = LOOPBACK) -> Instance:
    """What a host is asked for, its id aside."""
    settings = revision.settings
    args: list[str] = []
    for flag, value in (
        ("--workers", settings.workers),
        ("--max-batch", settings.max_batch),
        ("--deadline-ms", settings.deadline_ms),
    ):
        if value is not None:
            args += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    limits = Limits(settings.resources.memory_bytes, settings.resources.cpus)
    return Instance(
        InstanceId("", "live"),
        revision.digest,
        address=address,
        env=settings.environment,
        args=tuple(args),
        limits=limits,
    )
