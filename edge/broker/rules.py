"""Who may say and hear what: the rights that edge/enrolment writes into mosquitto's ACL."""

from __future__ import annotations

from typing import Protocol

from edge import topics


class Rules(Protocol):
    """``user``: the common name of the certificate; None: there is none."""

    def may_publish(self, user: str | None, topic: str) -> bool:
        """Whether it may send there."""
        ...

    def may_subscribe(self, user: str | None, filter: str) -> bool:
        """Whether it may hear all that the filter matches."""
        ...


class OpenRules:
    """Everybody may do everything: for tests."""

    def may_publish(self, user: str | None, topic: str) -> bool:
        return not topic.startswith("$")

    def may_subscribe(self, user: str | None, filter: str) -> bool:
        return not filter.startswith("$")


class DeviceRules:
    """A device says and hears what concerns itself; ``hub`` everything of ours."""

    def __init__(self, hub: str = "hub") -> None:
        self._hub = hub

    def may_publish(self, user: str | None, topic: str) -> bool:
        if user == self._hub:
            return topic.startswith(f"{topics.ROOT}/")
        status, up = f"{topics.ROOT}/{user}/{topics.STATUS}", f"{topics.ROOT}/{user}/up/"
        return _is_name(user) and (topic == status or topic.startswith(up))

    def may_subscribe(self, user: str | None, filter: str) -> bool:
        if user == self._hub:
            return filter.startswith(f"{topics.ROOT}/")
        return _is_name(user) and filter.startswith(f"{topics.ROOT}/{user}/down/")


def _is_name(user: str | None) -> bool:
    """A name with a wildcard or a slash would be a filter of its own."""
    return bool(user) and not any(c in str(user) for c in "+#/")
