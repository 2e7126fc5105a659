"""What a deployment's settings may say where no HAProxy stands before its replicas. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from registry.deployments.settings import RevisionSettings, ServiceSettings
from registry.errors import InvalidNameError

OPTIONS: Mapping[str, str] = {
    "host": "--host",
    "port": "--port; a target of devices has --set port=",
    "tls_certificate": "--tls-cert",
    "is_keyed": "--keys",
    "sticky_header": "--sticky-header",
    "least_replicas": "--replicas: each device of the target is one",
    "most_replicas": "--replicas: each device of the target is one",
    "autoscale": "autoscaling",
    "hooks": "hooks of a change of scale",
    "external_scale": "an external scaler",
}


def check_fit(
    kind: str,
    service: ServiceSettings,
    settings: RevisionSettings,
    *,
    has_shadow: bool = False,
) -> None:
    """Whether a target of this kind can be asked for that. Raises InvalidNameError."""
    if kind != "edge":
        return
    if has_shadow:
        raise InvalidNameError("a deployment on devices has no traffic that a shadow could copy")
    usual = ServiceSettings()
    for name in ServiceSettings.__struct_fields__:
        if name != "rollout" and getattr(service, name) != getattr(usual, name):
            raise InvalidNameError(f"a deployment on devices has no {OPTIONS.get(name, name)}")
    if service.rollout.max_p99_ratio != usual.rollout.max_p99_ratio:
        raise InvalidNameError("a deployment on devices has no --max-p99-ratio: golden inputs tell")
    if settings.secrets:
        raise InvalidNameError(
            "a deployment on devices has no secrets: the hub keeps and shows what devices run"
        )
