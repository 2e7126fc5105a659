"""The options that say how a deployment runs, for ``deploy`` and ``deployment update``.

@click.command(cls=SectionedCommand)
@settings_options
def update(..., **given): ...
    service_of(given, before.service)     # only what is given is another
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtime.cli import deployment_hooks
from runtime.cli.deployment_values import Finite, Replicas, environment, memory_bytes
from runtime.cli.server_options import ServerOption

if TYPE_CHECKING:
    from registry.deployments import RevisionSettings, Rollout, ServiceSettings

F = TypeVar("F", bound=Callable[..., object])
Given = Mapping[str, Any]
_SERVICE, _REPLICAS, _ROLLOUT, _SCALE = "Service", "Replicas", "Rollouts", "Between MIN and MAX"
_SCALING = ("in_flight", "queue_s", "up_after_s", "down_after_s", "zero_after_s")
CAN_BE_UNSET = (
    "cpus",
    "memory",
    "workers",
    "max-batch",
    "deadline-ms",
    "tls-cert",
    "sticky-header",
    *deployment_hooks.CAN_BE_UNSET,
)

# Section, name, what click is told besides.
_OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    (_SERVICE, "--host", {"metavar": "ADDRESS", "help": "Of the URL. [default: 127.0.0.1]"}),
    (
        *(_SERVICE, "--port"),
        {
            "type": click.IntRange(0, 65535),
            "help": "Of the URL; 0: any free one, kept from then on. [default: 0]",
        },
    ),
    (
        *(_SERVICE, "--tls-cert"),
        {
            "type": click.Path(path_type=Path, dir_okay=False),
            "metavar": "FILE.pem",
            "help": "Certificate, chain and key: the URL is https.",
        },
    ),
    (
        *(_SERVICE, "--keys/--no-keys"),
        {
            "default": None,
            "help": "Whether requests need one of the two keys of inferry deployment keys."
            " [default: no]",
        },
    ),
    (
        *(_SERVICE, "--sticky-header"),
        {"metavar": "HEADER", "help": "Requests with the same value of it go to one replica."},
    ),
    (
        *(_REPLICAS, "--replicas"),
        {"type": Replicas(), "metavar": "N|MIN..MAX", "help": "How many. [default: 1]"},
    ),
    (
        *(_REPLICAS, "--env"),
        {"multiple": True, "metavar": "KEY=VALUE", "help": "Environment; may repeat."},
    ),
    (
        *(_REPLICAS, "--secret"),
        {
            "multiple": True,
            "metavar": "NAME=FILE",
            "help": "Replicas find it as file NAME in the folder $INFERRY_SECRETS; may repeat.",
        },
    ),
    (_REPLICAS, "--cpus", {"type": Finite(min=0.01), "help": "At most, of each. [default: all]"}),
    (
        *(_REPLICAS, "--memory"),
        {"metavar": "SIZE", "help": "At most, of each, such as 512MiB. [default: all]"},
    ),
    (
        *(_REPLICAS, "--start-s"),
        {"type": Finite(min=0.1), "help": "Until a new one must be ready. [default: 120]"},
    ),
    (
        *(_REPLICAS, "--workers"),
        {"type": click.IntRange(1), "help": "As of inferry serve, in each."},
    ),
    (
        *(_REPLICAS, "--max-batch"),
        {"type": click.IntRange(1), "help": "As of inferry serve, in each."},
    ),
    (
        *(_REPLICAS, "--deadline-ms"),
        {"type": Finite(min=0.1), "help": "As of inferry serve, in each."},
    ),
    (
        *(_ROLLOUT, "--step"),
        {
            "type": Finite(0, 100, min_open=True),
            "multiple": True,
            "metavar": "PERCENT",
            "help": "A new revision's shares of the traffic, the last one 100; may repeat."
            " [default: 1, 5, 25, 100]",
        },
    ),
    (_ROLLOUT, "--step-s", {"type": Finite(min=0), "help": "Of each step. [default: 10]"}),
    (
        *(_ROLLOUT, "--max-error-share"),
        {
            "type": Finite(0, 1),
            "help": "Of a new revision's requests; with more it is taken back. [default: 0.01]",
        },
    ),
    (
        *(_ROLLOUT, "--max-p99-ratio"),
        {
            "type": Finite(min=1),
            "help": "Of its p99, and its median, to the old one's; over it is taken back."
            " [default: 2]",
        },
    ),
    (
        *(_SCALE, "--in-flight"),
        {"type": Finite(0.01, 1e6), "help": "Requests that each shall have. [default: 4]"},
    ),
    (
        *(_SCALE, "--queue-s"),
        {"type": Finite(0.0001, 3600), "help": "That requests may queue. [default: 0.1]"},
    ),
    (
        *(_SCALE, "--up-after-s"),
        {"type": Finite(0, 86_400), "help": "Of need, before there are more. [default: 0]"},
    ),
    (
        *(_SCALE, "--down-after-s"),
        {"type": Finite(0, 86_400), "help": "Of less need, before there are fewer. [default: 300]"},
    ),
    (
        *(_SCALE, "--zero-after-s"),
        {
            "type": Finite(0, 604_800),
            "help": "Without a request, before there is none, where MIN is 0. [default: 600]",
        },
    ),
    *deployment_hooks.OPTIONS,
]


def settings_options(command: F) -> F:
    """Adds them all to a command, which receives them by keyword; None or () is not given."""
    for section, name, told in reversed(_OPTIONS):
        command = click.option(name, cls=ServerOption, section=section, **told)(command)
    return command


def unset_option(command: F) -> F:
    """Adds ``--unset``: back to how it is where nobody says anything."""
    return click.option(
        "--unset",
        multiple=True,
        type=click.Choice(CAN_BE_UNSET),
        help="Back to how it is where nothing is said; may repeat.",
    )(command)


def service_of(given: Given, before: ServiceSettings) -> ServiceSettings:
    """``before`` with what is given. Raises BadValueError, CertificateError."""
    import msgspec

    changes: dict[str, Any] = {}
    for name, field in (("host", "host"), ("port", "port"), ("keys", "is_keyed")):
        if given[name] is not None:
            changes[field] = given[name]
    if given["sticky_header"] is not None:
        changes["sticky_header"] = given["sticky_header"]
    if given["tls_cert"] is not None:
        changes["tls_certificate"] = _certificate(given["tls_cert"])
    if given["replicas"] is not None:
        changes["least_replicas"], changes["most_replicas"] = given["replicas"]
    unset = given.get("unset", ())
    if "tls-cert" in unset:
        changes["tls_certificate"] = None
    if "sticky-header" in unset:
        changes["sticky_header"] = None
    changes["rollout"] = _rollout(given, before.rollout)
    changes["hooks"] = deployment_hooks.hooks_of(given, before.hooks)
    changes["autoscale"] = msgspec.structs.replace(
        before.autoscale, **{name: given[name] for name in _SCALING if given[name] is not None}
    )
    return msgspec.structs.replace(before, **changes)


def revision_of(
    given: Given, before: RevisionSettings, secrets: Mapping[str, bytes | None], *, merges: bool
) -> RevisionSettings:
    """``before`` with what is given. ``secrets``: None is taken away. ``merges``: a variable
    without a value is taken away. Raises BadValueError."""
    import msgspec

    asked = environment(given["env"])
    gone = {key for key, value in asked.items() if merges and not value}
    names = [name for name in before.secrets if secrets.get(name, b"") is not None]
    names += [name for name, value in secrets.items() if value is not None and name not in names]
    resources: dict[str, Any] = {}
    if given["cpus"] is not None:
        resources["cpus"] = given["cpus"]
    if given["memory"] is not None:
        resources["memory_bytes"] = memory_bytes(given["memory"])
    changes = {
        name: given[name]
        for name in ("workers", "max_batch", "deadline_ms")
        if given[name] is not None
    }
    for name in given.get("unset", ()):
        if name in ("cpus", "memory"):
            resources[{"cpus": "cpus", "memory": "memory_bytes"}[name]] = None
        elif name in ("workers", "max-batch", "deadline-ms"):
            changes[name.replace("-", "_")] = None
    health = {} if given["start_s"] is None else {"start_s": given["start_s"]}
    return msgspec.structs.replace(
        before,
        environment={
            key: value for key, value in {**before.environment, **asked}.items() if key not in gone
        },
        secrets=tuple(names),
        resources=msgspec.structs.replace(before.resources, **resources),
        health=msgspec.structs.replace(before.health, **health),
        **changes,
    )


def _rollout(given: Given, before: Rollout) -> Rollout:
    import msgspec

    changes = {
        name: given[name]
        for name in ("step_s", "max_error_share", "max_p99_ratio")
        if given[name] is not None
    }
    if given["step"]:
        changes["steps"] = tuple(given["step"])
    return msgspec.structs.replace(before, **changes)


def _certificate(path: Path) -> str:
    """Whole, as the balancer will read it."""
    from datetime import UTC, datetime

    from runtime.balance.certificate import certificate_text

    whole = path.absolute()
    certificate_text(whole, datetime.now(UTC))
    return str(whole)
