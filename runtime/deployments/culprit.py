"""Which service keeps the balancer from what all of them want: it is left out, the others go on."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable
from pathlib import Path

from runtime.balance.certificate import certificate_text
from runtime.balance.declared import Service
from runtime.balance.errors import CertificateError, StartError
from runtime.balance.handover import require_free


def culprit(
    services: Iterable[Service],
    known: Collection[str],
    now: datetime.datetime,
    forgiven: Collection[str] = (),
) -> tuple[str, str] | None:
    """Its name, and what is wrong, where that can be told; ``known``: those that the balancer has
    already; ``forgiven``: those whose certificate need not be looked at. Where it cannot be told,
    the last of the new ones, with nothing said. None: there is no new one."""
    found: tuple[str, str] | None = None
    for service in services:
        said = None if service.name in forgiven else _certificate_trouble(service, now)
        if said is None and service.name not in known:
            found = (service.name, "")
            said = _port_trouble(service)
        if said is not None:
            return service.name, said
    return found


def _certificate_trouble(service: Service, now: datetime.datetime) -> str | None:
    if service.certificate is None:
        return None
    try:
        certificate_text(Path(service.certificate), now)
    except CertificateError as error:
        return str(error)
    return None


def _port_trouble(service: Service) -> str | None:
    try:
        require_free(service.address, service.port)
    except StartError as error:
        return f"{error}; take another port, or free it"
    return None
