"""How a deployment is reached by its name, for the commands that take a URL or a name.

address = address_of("web", workspace_dir)      # or "http://127.0.0.1:8000", which is its own
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.cli.workspace import is_url, open_workspace
from runtime.errors import DeploymentFailedError
from runtime.scoring_call import pinned, score_url

if TYPE_CHECKING:
    import ssl

    from registry.deployments import Deployment


@dataclass(frozen=True, slots=True)
class Address:
    """``certificate``: the only one to trust there; ``deployment``: None for a URL.
    ``is_relayed``: only the service's machine can ask there, and does."""

    url: str
    key: str | None = None
    certificate: Path | None = None
    deployment: Deployment | None = None
    is_relayed: bool = False

    def tls(self) -> ssl.SSLContext | None:
        """Whom to trust; None: whom the system does. Raises ScoringCallError."""
        return None if self.certificate is None else pinned(self.certificate)


def address_of(where: str, workspace_dir: str | None) -> Address:
    """Raises RegistryError, and DeploymentFailedError for a deployment that has no URL now."""
    return _of_deployment(where, workspace_dir) if _is_name(where) else Address(where)


def _is_name(where: str) -> bool:
    from registry.deployments.settings import check_deployment_name
    from registry.errors import InvalidNameError

    if not where or not where.replace("-", "").isalnum():
        return False  # a URL has more than that
    try:
        check_deployment_name(where)
    except InvalidNameError:
        return False
    return True


def _of_deployment(name: str, workspace_dir: str | None) -> Address:
    from runtime.cli.deployment_records import state_line

    with open_workspace(workspace_dir) as workspace:
        found = workspace.deployments.get(name)
        if found.observed is None or found.observed.url is None:
            raise DeploymentFailedError(f"{name} has no URL now, it is {state_line(found)}")
        url, certificate = found.observed.url, found.service.tls_certificate
        is_pinned = url.startswith("https:") and certificate is not None
        # 127.0.0.1 is the service's machine, and its certificate a file there.
        if is_url(workspace_dir) and (is_pinned or _is_loopback(url)):
            return Address(url, deployment=found, is_relayed=True)
        key = workspace.deployments.keys(name)["primary"] if found.service.is_keyed else None
    return Address(url, key, Path(certificate) if is_pinned and certificate else None, found)


def _is_loopback(url: str) -> bool:
    from registry.remote.addresses import is_loopback_host

    return is_loopback_host(score_url(url).hostname or "")
