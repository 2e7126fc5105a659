"""What a host is asked for: the instance of a revision, with its limits, environment and secrets.

instances = Instances("web", deployments, environ={}, secret_files=None)
instances.describe(declared)(2)           # the instance, its id left empty, and its health
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from edge.errors import EdgeError
from edge.hosts.port import Instance, InstanceId
from edge.messages.desired import Limits
from registry.deployments import Deployment, Deployments, Health, Revision
from registry.errors import RegistryError
from runtime.deployments.secret_files import SecretFiles

LOOPBACK = "127.0.0.1"
Describe = Callable[[int], tuple[Instance, Health]]
"""The instance of a revision (its id left empty) and how its health is asked; KeyError where there
is no such revision."""


class Instances:
    """Of one deployment. ``environ``: what the target adds to each replica's."""

    def __init__(
        self,
        name: str,
        deployments: Deployments,
        *,
        environ: Mapping[str, str],
        address: str = LOOPBACK,
        secret_files: SecretFiles | None,
    ) -> None:
        self._name, self._deployments = name, deployments
        self._environ, self._secret_files = dict(environ), secret_files
        self._address = address

    def __repr__(self) -> str:
        return f"Instances({self._name})"

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
