"""What goes wrong on devices and in the hub. Every message is one line that says what to do.

EdgeError
├── InvalidMessageError     a message that is not what its topic promises
├── InvalidSpecError        a deployment, condition or name that cannot be
├── NotFoundError           no such device, deployment, module or rollout
├── ConflictError           it is there already, or in a state that does not allow it
├── ConfigError             the configuration of an agent or hub
├── EnrolmentError          a certificate or key
├── LinkError               the broker: no connection, refused
├── PullError               an image that could not be fetched
│   ├── NoSpaceError        the disk has no room for it, or would go below its reserve
│   └── UntrustedError      it is not signed by a key that this device trusts
├── HostError               a module could not be started, stopped or asked
├── GateError               a new version did not pass; names the check
├── OutboxError             the outbox cannot be written
└── HubError                the hub's database cannot be read or written
"""

from __future__ import annotations


class EdgeError(Exception):
    """Anything below."""


class InvalidMessageError(EdgeError):
    """A message that is not what its topic promises."""


class InvalidSpecError(EdgeError):
    """A deployment, condition or name that cannot be."""


class NotFoundError(EdgeError):
    """No such device, deployment, module or rollout."""


class ConflictError(EdgeError):
    """It is there already, or in a state that does not allow it."""


class ConfigError(EdgeError):
    """The configuration of an agent or hub."""


class EnrolmentError(EdgeError):
    """A certificate or key."""


class LinkError(EdgeError):
    """The broker cannot be reached, or refuses."""


class PullError(EdgeError):
    """An image could not be fetched. ``is_temporary``: trying again later may help."""

    def __init__(self, message: str, *, is_temporary: bool = False) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


class NoSpaceError(PullError):
    """The disk has no room for it, or would go below its reserve."""


class UntrustedError(PullError):
    """It is not signed by a key that this device trusts."""


class HostError(EdgeError):
    """A module could not be started, stopped or asked."""


class GateError(EdgeError):
    """A new version did not pass. ``check`` names what it failed: health, status, shape, finite,
    tolerance, latency, shadow."""

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check


class OutboxError(EdgeError):
    """The outbox cannot be written."""


class HubError(EdgeError):
    """The hub's database cannot be read or written."""
