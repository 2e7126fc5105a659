"""HAProxy's configuration as text, from a layout; pure.

    files(layout)            # every file of HAProxy's folder, but the certificates
    shape(layout)            # a digest of what only a reload changes

Names in it (a service NAME, its lane 0, its slot 1):

    NAME            the port: keys, then a lane by NAME.split
    NAME.0          the lane: its servers s1, s2, ... and ``again``, for when there are none
    NAME.0.live     the same servers' states, without ``again``: what ``nbsrv`` counts
    NAME.again      where requests come that found no server (holding.py)
    NAME.mirror, NAME.direct, NAME.copies   with a shadow (mirror.py)
    _metrics        /metrics for Prometheus

All paths are relative to the folder that HAProxy runs in: nothing of the machine is in the text.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

from runtime.balance import holding, maps, mirror
from runtime.balance.declared import NO_LIMIT, Balance, Limits, Replica, Service, Version
from runtime.balance.layout import Lane, Layout, Placed
from runtime.balance.states import Server

FILE = "haproxy.cfg"
AGAIN = "again"
CERTIFICATES = "certificates"
EMPTY = "127.0.0.1:1"
"""The address of a slot that nobody has; it is in maintenance, so nothing goes there."""
LUA_S = 4.0
"""HAProxy's own bound of what its Lua may take."""
RETRIES, RETRIES_REPEATABLE = 8, 2
"""Of requests that no server got. What may be run twice is sent again even after it was begun: a
request that kills replicas may kill three."""

_ERRORS = (
    (400, "this is no HTTP request"),
    (408, "the request did not come in time"),
    (502, "the replica ended before it answered, or its answer was no HTTP"),
    (503, "no replica could take the request in time"),
    (504, "the replica did not answer in time"),
)


def master_socket(generation: int) -> str:
    """Where HAProxy is told what to do; each of its processes has its own."""
    return f"master.{generation}.sock"


def generation_of(name: str) -> int | None:
    """Of a ``master_socket``; None for other names."""
    found = re.fullmatch(r"master\.([0-9]{1,9})\.sock", name, re.ASCII)
    return int(found[1]) if found else None


def listeners_socket(generation: int | str) -> str:
    """Where it hands over its listening sockets."""
    return f"listeners.{generation}.sock"


def again_socket(service: str) -> str:
    """Where requests of a service come that found no server."""
    return f"{service}.again.sock"


def certificate_file(service: str) -> str:
    """HAProxy's own copy of the chain and the private key."""
    return f"{CERTIFICATES}/{service}.pem"


def lane_name(service: str, lane: int) -> str:
    """A lane's backend."""
    return f"{service}.{lane}"


def slot_name(slot: int) -> str:
    """A slot's server; the first is s1."""
    return f"s{slot + 1}"


def place_of(server: Server) -> tuple[str, int, int]:
    """Service, lane and slot: ``lane_name`` and ``slot_name`` backwards."""
    service, _, lane = server.backend.rpartition(".")
    return service, int(lane), int(server.name.removeprefix("s")) - 1


def files(layout: Layout) -> dict[str, str]:
    """By name, relative to HAProxy's folder."""
    return {
        FILE: configuration(layout, shape(layout)),
        holding.FILE: _holding(layout),
        **{name: maps.map_text(entries) for name, entries in maps.maps(layout).items()},
    }


def shape(layout: Layout) -> str:
    """A digest of all that the runtime API cannot change. HAProxy tells the one that it was started
    with (Info.description)."""
    services = tuple(
        replace(
            placed,
            lanes=tuple(Lane(None, (None,) * len(lane.slots)) for lane in placed.lanes),
        )
        for placed in layout.services
    )
    empty = replace(layout, services=services)
    return hashlib.sha256((configuration(empty) + _holding(empty)).encode()).hexdigest()


def _holding(layout: Layout) -> str:
    return holding.lua([placed.service.name for placed in layout.services])


def configuration(layout: Layout, description: str = "") -> str:
    """All of it."""
    sections = [_global(layout, description), _defaults()]
    for placed in layout.services:
        sections += [_port(placed), _again(placed), *_mirrored(placed)]
        for index, lane in enumerate(placed.lanes):
            sections += [_lane(placed.service, index, lane), _live(placed.service, index, lane)]
    if layout.balance.metrics_port is not None:
        sections.append(_metrics(layout.balance, layout.balance.metrics_port))
    return "\n".join("\n  ".join(lines) + "\n" for lines in sections)


def _global(layout: Layout, description: str) -> list[str]:
    balance = layout.balance
    return [
        "global",
        f"maxconn {balance.connections + sum(map(mirror.connections_of, balance.services))}",
        f"hard-stop-after {_ms(balance.finish_s)}",
        f'stats socket "unix@./{listeners_socket("${GENERATION}")}" mode 600 level admin '
        "expose-fd listeners",
        "stats timeout 10s",
        "ssl-default-bind-options ssl-min-ver TLSv1.2",
        *([f"description {description}"] if description else []),
        *([f"nbthread {balance.threads}"] if balance.threads else []),
        f"lua-load {holding.FILE}",
        # Of a wait its looks alone count, but on a machine with too few cores they add up to
        # HAProxy's 4 s, and the request would be lost. The wait ends by itself.
        f"tune.lua.session-timeout {_ms(_longest_hold_s(layout))}",
    ]


def _longest_hold_s(layout: Layout) -> float:
    return max([LUA_S, *(placed.service.limits.hold_s for placed in layout.services)])


def _defaults() -> list[str]:
    return [
        "defaults",
        "mode http",
        "timeout connect 1s",
        "timeout client 60s",
        "timeout server 60s",
        # A reload closes no idle connection of a client under its next request.
        "option idle-close-on-response",
        "option redispatch 1",
        # Who goes away without waiting for an answer is not worked for any longer.
        "option abortonclose",
        *(
            f"http-error status {status} content-type application/json "
            f"string {_json(why)}{' hdr Retry-After 1' if status == 503 else ''}"
            for status, why in _ERRORS
        ),
    ]


def _port(placed: Placed) -> list[str]:
    service, limits = placed.service, placed.service.limits
    tls = f" ssl crt {certificate_file(service.name)} alpn h2,http/1.1"
    lines = [
        f"frontend {service.name}",
        f"bind {_joined(service.address, service.port)}{tls if service.certificate else ''}",
        *_client_limits(limits),
        f"http-request del-header {holding.HEADER}",
    ]
    if service.keys is not None:
        lines += [
            "http-request return status 401 content-type application/json "
            f"string {_json('this needs a key: send Authorization: Bearer KEY')} "
            "hdr WWW-Authenticate Bearer unless { http_auth_bearer,sha2(256),hex,"
            f"map_str({maps.keys_file(service.name)}) -m found }}",
            "http-request del-header authorization",
        ]
    return [*lines, *mirror.drawing(service), *_choosing(service)]


def _mirrored(placed: Placed) -> list[list[str]]:
    service = placed.service
    if not service.has_shadow:
        return []
    limits = replace(service.limits, connections=mirror.MOST_MIRRORED + mirror.MOST_IDLE)
    return mirror.sections(service, _client_limits(limits), _choosing(service))


def _choosing(service: Service) -> list[str]:
    """Of a lane."""
    lines, lane = [], f"map_int({maps.split_file(service.name)})"
    if service.sticky_header is not None:
        header = f"req.hdr({service.sticky_header})"
        lines.append(
            f"use_backend {service.name}.%[{header},xxh32,mod({maps.PARTS}),{lane}] "
            f"if {{ {header} -m found }}"
        )
    return [
        *lines,
        f"use_backend {service.name}.%[rand({maps.PARTS}),{lane}]",
        f"default_backend {lane_name(service.name, 0)}",
    ]


def _again(placed: Placed) -> list[str]:
    service, limits = placed.service, placed.service.limits
    return [
        f"frontend {service.name}.{AGAIN}",
        f"bind unix@./{again_socket(service.name)} mode 600",
        *_client_limits(limits),
        *mirror.refusal(service),
        f"http-request lua.hold {service.name} {len(placed.lanes)} {_whole_ms(limits.hold_s)}",
        "http-request return status 503 content-type application/json "
        f"string {_json('no replica is there')} hdr Retry-After 5 "
        "unless { var(txn.lane) -m found }",
        f"http-request set-header {holding.HEADER} %[var(txn.until)]",
        f"use_backend {service.name}.%[var(txn.lane)]",
    ]


def _client_limits(limits: Limits) -> list[str]:
    return [
        f"maxconn {limits.connections}",
        f"timeout client {_ms(limits.answer_s)}",
        f"timeout http-request {_ms(limits.header_s)}",
        f"timeout http-keep-alive {_ms(limits.idle_s)}",
    ]


def _lane(service: Service, index: int, lane: Lane) -> list[str]:
    limits, health = service.limits, service.health
    slow, fast = _ms(health.interval_s), _ms(health.interval_s / 2)
    repeatable = service.is_repeatable
    return [
        f"backend {lane_name(service.name, index)}",
        *_choice(service.sticky_header),
        f"timeout connect {_ms(limits.connect_s)}",
        f"timeout queue {_ms(limits.queue_s)}",
        f"timeout server {_ms(limits.answer_s)}",
        f"timeout check {_ms(health.timeout_s)}",
        f"retries {RETRIES_REPEATABLE if repeatable else RETRIES}",
        f"retry-on conn-failure{' empty-response' if repeatable else ''}",
        "http-request return status 429 content-type application/json "
        f"string {_json('too many requests are waiting')} hdr Retry-After 1 "
        f"if {{ queue ge {limits.queue} }}",
        "option httpchk",
        f"http-check send meth GET uri {health.path} ver HTTP/1.1 hdr Host inferry",
        "http-check expect status 200",
        # Who refuses one connection is down until it is found ready again: nobody waits for it.
        f"default-server check inter {slow} fastinter {fast} downinter {fast} rise {health.rise} "
        f"fall {health.fall} observe layer4 error-limit 1 on-error mark-down",
        *(_server(at, replica, lane.version) for at, replica in enumerate(lane.slots)),
        f"server {AGAIN} unix@./{again_socket(service.name)} backup no-check pool-max-conn 0",
    ]


def _choice(sticky_header: str | None) -> list[str]:
    if sticky_header is None:
        return ["balance leastconn"]
    return [f"balance hdr({sticky_header})", "hash-type consistent djb2 avalanche"]


def _server(slot: int, replica: Replica | None, version: Version | None) -> str:
    if replica is None or version is None:
        return f"server {slot_name(slot)} {EMPTY} maxconn {NO_LIMIT} disabled"
    limit = f" maxconn {version.most_requests}"
    state = " disabled" if replica.is_draining else ""
    place = _joined(*replica.place)
    return f"server {slot_name(slot)} {place} weight {replica.weight}{limit}{state}"


def _live(service: Service, index: int, lane: Lane) -> list[str]:
    name = lane_name(service.name, index)
    slots = range(len(lane.slots))
    return [
        f"backend {name}.live",
        *(f"server {slot_name(at)} {EMPTY} track {name}/{slot_name(at)}" for at in slots),
    ]


def _metrics(balance: Balance, port: int) -> list[str]:
    return [
        "frontend _metrics",
        f"bind {_joined(balance.metrics_address, port)}",
        "timeout client 10s",
        "timeout http-request 5s",
        "http-request use-service prometheus-exporter if { path /metrics }",
        "http-request return status 404 content-type application/json "
        f"string {_json('there is /metrics')}",
    ]


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _json(why: str) -> str:
    return f"'{json.dumps({'error': why})}'"


def _ms(seconds: float) -> str:
    return f"{_whole_ms(seconds)}ms"


def _whole_ms(seconds: float) -> int:
    return round(seconds * 1000)
