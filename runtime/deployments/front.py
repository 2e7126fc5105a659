"""Where a deployment is asked: its port, its keys, and what the balancer shall do for it."""

from __future__ import annotations

from collections.abc import Collection

from registry.deployments import Deployment, Deployments
from runtime.balance.declared import Keys, Service, key_digest_of
from runtime.deployments.publication import Places, free_port, service_of


class Front:
    """Of one deployment. Not for several threads at once."""

    def __init__(self, name: str, deployments: Deployments) -> None:
        self._name, self._deployments = name, deployments
        self._keys: tuple[int, Keys] | None = None

    def __repr__(self) -> str:
        return f"Front({self._name})"

    def port(self, declared: Deployment, kept: int) -> int:
        """The declared one, the ``kept`` one, or a free one. Raises EdgeError."""
        return declared.service.port or kept or free_port(declared.service.host)

    def service(
        self, declared: Deployment, port: int, places: Places, draining: Collection[str]
    ) -> Service | None:
        """See publication.service_of. Raises EdgeError; RegistryError where keys cannot be had."""
        keys = self._keys_of(declared) if declared.service.is_keyed else None
        return service_of(declared, port, places, draining, keys)

    def _keys_of(self, declared: Deployment) -> Keys:
        """Opened again only when something changed."""
        if self._keys is None or self._keys[0] != declared.change:
            found = self._deployments.keys(self._name)
            keys = Keys(key_digest_of(found["primary"]), key_digest_of(found["secondary"]))
            self._keys = declared.change, keys
        return self._keys[1]
