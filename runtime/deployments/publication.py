"""What the balancer shall do for a deployment. Pure, but for names and ports of this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from edge.errors import EdgeError
from registry.deployments import Deployment
from runtime.balance.declared import Health, Keys, Replica, Service, Version

LOWEST_PORT, USUAL_FIRST_PORT, PORT_TRIES = 10_000, 32_768, 20
Places = Mapping[str, tuple[int, str, int]]
"""Revision, address and port of replicas that answer, by id."""


def service_of(
    declared: Deployment,
    port: int,
    places: Places,
    draining: Collection[str],
    keys: Keys | None,
) -> Service | None:
    """None while nothing has traffic. ``draining``: ids that get nothing more, and finish. Raises
    EdgeError for a host that has no address."""
    live = [share for share in declared.traffic if not share.is_shadow]
    if not live or not declared.is_wanted:
        return None
    service = declared.service
    shares = {share.revision: max(1, round(share.percent * 100)) for share in live}
    copies = {
        share.revision: max(1, round(share.percent * 100))
        for share in declared.traffic
        if share.is_shadow and share.percent > 0 and share.revision not in shares
    }
    # Those that drain and have no share any more still finish.
    rest = {places[id][0]: 0 for id in draining if id in places}
    versions = tuple(
        Version(
            version_of(revision),
            shares.get(revision, 0),
            _replicas(revision, places, draining, is_all=revision in (shares | copies)),
            copies=copies.get(revision, 0),
        )
        for revision in sorted({*shares, *copies, *rest})
    )
    health = declared.revision(live[0].revision).settings.health
    return Service(
        declared.name,
        port,
        versions,
        address_of(service.host),
        keys,
        service.tls_certificate,
        service.sticky_header,
        health=Health(interval_s=max(0.05, min(0.5, health.interval_s))),
    )


def version_of(revision: int) -> str:
    """As the balancer calls it, and whoever counts what a shadow answers."""
    return f"r{revision}"


def url_of(declared: Deployment, service: Service | None) -> str | None:
    """Where clients ask; None while nothing is open."""
    if service is None:
        return None
    host = declared.service.host
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if service.certificate else 'http'}://{shown}:{service.port}/score"


def address_of(host: str) -> str:
    """Of a name, its first address. Raises EdgeError where it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise EdgeError(f"the host {host} has no address") from None
    return str(found[0][4][0])


def free_port(host: str) -> int:
    """One that nothing listens on now, for good: the kernel gives it to no connection, which would
    be in the way when the balancer begins anew. Where there is none, any. Raises EdgeError."""
    address = address_of(host)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kept = range(LOWEST_PORT, first_given_port())
    for port in (*random.sample(kept, min(PORT_TRIES, len(kept))), 0):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((address, port))
                return int(probe.getsockname()[1])
        except OSError as error:
            failure = error
    raise EdgeError(f"no port can be had on {host}: {failure.strerror}")


def first_given_port() -> int:
    """From this one on the kernel gives ports to connections (ip(7), ip_local_port_range)."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return USUAL_FIRST_PORT


def _replicas(
    revision: int, places: Places, draining: Collection[str], *, is_all: bool
) -> tuple[Replica, ...]:
    return tuple(
        Replica(address, port, is_draining=id in draining)
        for id, (found, address, port) in sorted(places.items())
        if found == revision and (is_all or id in draining)
    )
