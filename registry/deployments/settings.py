"""How a deployment shall run: what belongs to its service as a whole, and what to one revision.

Kept as JSON; unknown fields are refused, so that a misspelt setting is no silent default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from registry import names
from registry.deployments.hooks import Hooks, check_hooks, check_url
from registry.errors import InvalidNameError, WorkspaceDamagedError

MAX_NAME_CHARS = 32
MAX_REPLICAS = 1000
MAX_ENVIRONMENT = 256
MAX_VALUE_CHARS = 32_768
LEAST_MEMORY_BYTES = 16 << 20
_NAME = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HOST = re.compile(r"[0-9A-Za-z.:-]{1,255}")
T = TypeVar("T")
OWN_PREFIXES = ("INFERRY_", "AZUREML_", "LD_")
OWN_VARIABLES = frozenset({"AML_APP_ROOT", "PATH", "PYTHONPATH", "PYTHONHOME", "HOME"})


class Resources(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of each replica; None: no limit."""

    cpus: float | None = None
    memory_bytes: int | None = None


class Health(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """``start_s``: how long until a new replica must be ready; then it is asked each
    ``interval_s``, and after ``failures`` times without an answer it counts as lost."""

    start_s: float = 120.0
    interval_s: float = 1.0
    failures: int = 3


class Autoscale(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the number of replicas follows: requests in flight of each, and how long they queue.
    ``down_after_s``: how long fewer must do before there are fewer; ``zero_after_s``: how long
    without a request before there is none, where the least number is 0."""

    in_flight: float = 4.0
    queue_s: float = 0.1
    up_after_s: float = 0.0
    down_after_s: float = 300.0
    zero_after_s: float = 600.0


class Rollout(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a new revision comes into service: its share of the traffic, step by step, each for
    ``step_s``. It is taken back where more than ``max_error_share`` of its requests fail and more
    than the old one's, or its p99 or its median is over ``max_p99_ratio`` of the old one's."""

    steps: tuple[float, ...] = (1.0, 5.0, 25.0, 100.0)
    """The first one bounds what a release that fails at once can harm."""
    step_s: float = 10.0
    max_error_share: float = 0.01
    max_p99_ratio: float = 2.0
    least_requests: int = 20
    """Fewer say nothing of a step; it then lasts up to ten times as long."""


class ServiceSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of a deployment, whatever its revision. ``port`` 0: a free one, kept from then on."""

    host: str = "127.0.0.1"
    port: int = 0
    tls_certificate: str | None = None
    """Path of a PEM file with certificate, chain and key on the machine of the balancer."""
    is_keyed: bool = False
    """Whether requests need ``Authorization: Bearer`` with one of the two keys."""
    sticky_header: str | None = None
    least_replicas: int = 1
    most_replicas: int = 1
    autoscale: Autoscale = Autoscale()
    rollout: Rollout = Rollout()
    hooks: Hooks = Hooks()
    external_scale: str | None = None
    """URL that is asked how many replicas there shall be, between the two numbers."""


class RevisionSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of one revision, beside its image."""

    environment: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    """Names of secrets that its replicas find as files, in the folder INFERRY_SECRETS."""
    resources: Resources = Resources()
    health: Health = Health()
    workers: int | None = None
    max_batch: int | None = None
    deadline_ms: float | None = None


def check_deployment_name(name: str, what: str = "deployment name") -> str:
    """``name`` itself: it may become a host name. Raises InvalidNameError."""
    if not isinstance(name, str) or len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"{what} {ascii(name)[:60]}: 1 to {MAX_NAME_CHARS} lower-case letters, digits and '-',"
            " starting with a letter and not ending with '-'"
        )
    return name


def check_service(service: ServiceSettings) -> ServiceSettings:
    """``service`` itself. Raises InvalidNameError, saying which setting is wrong."""
    if not _HOST.fullmatch(service.host):
        raise InvalidNameError(f"host {ascii(service.host)[:60]} is no address or host name")
    _whole("port", service.port, 0, 65_535)
    _whole("the least number of replicas", service.least_replicas, 0, MAX_REPLICAS)
    _whole("the largest number of replicas", service.most_replicas, 1, MAX_REPLICAS)
    if service.least_replicas > service.most_replicas:
        raise InvalidNameError(
            f"{service.least_replicas} replicas at least and {service.most_replicas} at most"
            " contradict each other"
        )
    if service.tls_certificate is not None:
        names.check_text(service.tls_certificate, "the certificate's path", 4096)
    if service.sticky_header is not None and not _HEADER.fullmatch(service.sticky_header):
        raise InvalidNameError(f"{ascii(service.sticky_header)[:60]} is no name of a header")
    scale, rollout = service.autoscale, service.rollout
    _real("the target of requests in flight", scale.in_flight, 0.01, 1e6)
    _real("the target of seconds in the queue", scale.queue_s, 0.0001, 3600)
    _real("the wait before more replicas", scale.up_after_s, 0, 86_400)
    _real("the wait before fewer replicas", scale.down_after_s, 0, 86_400)
    _real("the wait before no replica", scale.zero_after_s, 0, 7 * 86_400)
    _check_steps(rollout.steps)
    _real("the length of a step", rollout.step_s, 0, 86_400)
    _real("the share of errors", rollout.max_error_share, 0, 1)
    _real("the ratio of p99", rollout.max_p99_ratio, 1, 1e6)
    _whole("the requests of a step", rollout.least_requests, 0, 1_000_000)
    check_hooks(service.hooks)
    if service.external_scale is not None:
        check_url(service.external_scale, "the external scaler")
    return service


def check_revision(settings: RevisionSettings, secrets: Iterable[str]) -> RevisionSettings:
    """``settings`` itself; ``secrets`` are the names that there are. Raises InvalidNameError."""
    if len(settings.environment) > MAX_ENVIRONMENT:
        raise InvalidNameError(f"more than {MAX_ENVIRONMENT} environment variables")
    for name, value in settings.environment.items():
        _check_variable(name)
        if not isinstance(value, str) or len(value) > MAX_VALUE_CHARS or "\0" in value:
            raise InvalidNameError(
                f"the value of {name} must be text without NUL of at most {MAX_VALUE_CHARS}"
                " characters"
            )
    missing = sorted(set(settings.secrets) - set(secrets))
    if missing:
        raise InvalidNameError(
            f"there is no secret '{missing[0]}'; set it with: inferry deployment secret set"
        )
    resources, health = settings.resources, settings.health
    if resources.cpus is not None:
        _real("the number of CPUs", resources.cpus, 0.01, 4096)
    if resources.memory_bytes is not None:
        _whole("the memory", resources.memory_bytes, LEAST_MEMORY_BYTES, 1 << 50)
    _real("the time for a start", health.start_s, 0.1, 86_400)
    _real("the interval of health checks", health.interval_s, 0.05, 3600)
    _whole("the failures of a health check", health.failures, 1, 1000)
    for what, count in (("workers", settings.workers), ("max_batch", settings.max_batch)):
        if count is not None:
            _whole(what, count, 1, 1_000_000)
    if settings.deadline_ms is not None:
        _real("the deadline in milliseconds", settings.deadline_ms, 0.1, 1e9)
    return settings


def read_service(text: str) -> ServiceSettings:
    """What was kept. Raises WorkspaceDamagedError."""
    return _kept(text, ServiceSettings)


def read_revision(text: str) -> RevisionSettings:
    """What was kept. Raises WorkspaceDamagedError."""
    return _kept(text, RevisionSettings)


def _kept(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise WorkspaceDamagedError(f"settings of a deployment cannot be read: {error}") from error


def _check_variable(name: str) -> None:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or len(name) > 256:
        raise InvalidNameError(f"{ascii(name)[:60]} is no name of an environment variable")
    if name in OWN_VARIABLES or name.startswith(OWN_PREFIXES):
        raise InvalidNameError(f"{name} is set by Inferry; take another environment variable")


def _check_steps(steps: tuple[float, ...]) -> None:
    if not steps or len(steps) > 100 or steps[-1] != 100:
        raise InvalidNameError("the steps of a rollout end with 100 (percent), at most 100 of them")
    if any(not 0 < step <= 100 for step in steps) or list(steps) != sorted(set(steps)):
        raise InvalidNameError("the steps of a rollout rise, each over 0 and at most 100 (percent)")


def _real(what: str, value: float, least: float, most: float) -> None:
    if not math.isfinite(value) or not least <= value <= most:
        raise InvalidNameError(f"{what} must lie between {least:g} and {most:g}, not {value:g}")


def _whole(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidNameError(f"{what} must lie between {least} and {most}, not {value}")
