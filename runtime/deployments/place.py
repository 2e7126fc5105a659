"""Where replicas run: a target as a controller has it, and the units of its deployments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge.hosts.port import ModuleHost
from registry.deployments import Deployment, Deployments
from runtime.deployments.changes import Listener
from runtime.deployments.port import Unit
from runtime.deployments.sampling import Sample
from runtime.deployments.secret_files import SecretFiles
from runtime.deployments.unit import ReplicaUnit


@dataclass(frozen=True, slots=True)
class Place:
    """``environ``: what it adds to each replica's; ``address``: where its replicas answer."""

    host: ModuleHost
    environ: Mapping[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"


PlaceOf = Callable[[str], Place]
"""The place of a target; raises EdgeError or RegistryError where it cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaUnits:
    """Makes units of replicas: the UnitOf of ``local``, ``docker`` and ``fpga``. ``listener_of``:
    who is told of changes of a deployment's scale."""

    deployments: Deployments
    place_of: PlaceOf
    sample: Sample | None = None
    is_exclusive: Callable[[str], bool] = lambda digest: False
    secret_files: SecretFiles | None = None
    listener_of: Callable[[str], Listener | None] = lambda deployment: None

    def __call__(self, declared: Deployment) -> Unit:
        """Raises EdgeError or RegistryError where its target cannot be had."""
        place = self.place_of(declared.target)
        return ReplicaUnit(
            declared.name,
            self.deployments,
            place.host,
            sample=self.sample,
            is_exclusive=self.is_exclusive,
            secret_files=self.secret_files,
            environ=place.environ,
            address=place.address,
            listener=self.listener_of(declared.name),
        )
