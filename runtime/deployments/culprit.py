"""Which service keeps the balancer from what all of them want: it is left out, the others go on."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

from runtime.balance.certificate import certificate_text
from runtime.balance.declared import Service
from runtime.balance.errors import CertificateError


def culprit(
    services: Iterable[Service], known: Collection[str], now: datetime.datetime
) -> tuple[str, str] | None:
    """Its name, and what is wrong, where that can be told; ``known``: those that the balancer has
    already. Where it cannot be told, the last of the new ones, with nothing said. None: there is
    no new one."""
    found: tuple[str, str] | None = None
    for service in services:
        said = _certificate_trouble(service, now)
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
    where = f"{service.address}:{service.port}"
    family = socket.AF_INET6 if ":" in service.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((service.address, service.port))
    except OSError as error:
        return f"cannot listen on {where}: {error.strerror}; take another port, or free it"
    return None
