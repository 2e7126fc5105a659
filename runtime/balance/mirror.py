"""A part of the requests takes a longer way, on which they are copied; pure.

    NAME  ->  NAME.mirror  ->  the mirror  ->  NAME.direct  ->  a lane, as without it
                                   |
                                   '-> NAME.copies  ->  the lane of a shadow

HAProxy draws which requests those are (NAME.copied) and says in a header which shadows get a copy;
the mirror is a process of its own (runtime/shadow). Where it is not there, or does not answer its
checks, or has too much to do, requests go straight to their lane. A lane is chosen by NAME.direct
then, by the rules of NAME: shares and sticky headers mean the same on either way. Copies never come
to a lane that has a share: where their own has no replica they get a 503 with ``NO_SHADOW``.

Clients reach none of these: the sockets are in HAProxy's folder.
"""

from __future__ import annotations

import json

from runtime.balance import maps
from runtime.balance.declared import Service

HEADER = "inferry-copy"
"""Which shadows get a copy, with commas between; of a copy, which shadow it is for."""
NO_SHADOW = "inferry-no-shadow"
"""A header of the answer to a copy for which there is no replica."""
CHECK_PATH = "/inferry-mirror"
"""What the mirror answers itself."""
MOST_MIRRORED, MOST_IDLE, MOST_COPIES = 500, 100, 200
"""Requests of a service that take the longer way at a time, connections kept for later ones, and
copies at a time."""
CHECK_MS = 250
SLACK_S = 5.0
"""The mirror's answer may come so much later than the last moment of a lane's."""


def mirror_name(service: str) -> str:
    """The backend that has the mirror."""
    return f"{service}.mirror"


def mirror_socket(service: str) -> str:
    """Where the mirror listens."""
    return f"{service}.mirror.sock"


def direct_socket(service: str) -> str:
    """Where the mirror sends requests on."""
    return f"{service}.direct.sock"


def copies_socket(service: str) -> str:
    """Where it sends copies."""
    return f"{service}.copies.sock"


def connections_of(service: Service) -> int:
    """Those that HAProxy needs beside the clients'."""
    return MOST_MIRRORED + MOST_IDLE + MOST_COPIES if service.has_shadow else 0


def drawing(service: Service) -> list[str]:
    """Lines of NAME, before a lane is chosen."""
    if not service.has_shadow:
        return []
    server = f"{mirror_name(service.name)}/mirror"
    return [
        f"http-request del-header {HEADER}",
        "acl is_copied path /score",
        "acl is_copied path_reg ^/v2/models/.+/infer$",
        f"http-request set-var(txn.copy) rand({maps.PARTS}),"
        f"map_int({maps.copied_file(service.name)}) if METH_POST is_copied",
        f"use_backend {mirror_name(service.name)} if {{ var(txn.copy) -m found }} "
        f"{{ srv_is_up({server}) }} {{ srv_conn({server}) lt {MOST_MIRRORED} }}",
    ]


def refusal(service: Service) -> list[str]:
    """Lines of where requests come that found no server: what is a copy does not wait there."""
    if not service.has_shadow:
        return []
    return [f"{_no_shadow()} if {{ req.hdr({HEADER}) -m found }}"]


def sections(service: Service, client_limits: list[str], split: list[str]) -> list[list[str]]:
    """NAME.mirror, NAME.direct and NAME.copies. ``split``: the lines of NAME that choose a lane."""
    return [_mirror(service), _direct(service, client_limits, split), _copies(service)]


def _mirror(service: Service) -> list[str]:
    limits, again = service.limits, " empty-response" if service.is_repeatable else ""
    whole_s = limits.queue_s + limits.hold_s + limits.answer_s + SLACK_S
    return [
        f"backend {mirror_name(service.name)}",
        "timeout connect 250ms",
        f"timeout server {round(whole_s * 1000)}ms",
        f"timeout check {CHECK_MS}ms",
        "retries 3",
        f"retry-on conn-failure{again}",
        f"http-request set-header {HEADER} %[var(txn.copy)]",
        "option httpchk",
        f"http-check send meth GET uri {CHECK_PATH} ver HTTP/1.1 hdr Host inferry",
        "http-check expect status 200",
        f"default-server check inter {CHECK_MS}ms rise 1 fall 1 "
        "observe layer4 error-limit 1 on-error mark-down",
        # Each idle one holds another of ours open, and with it a process from before a reload.
        f"server mirror unix@./{mirror_socket(service.name)} pool-max-conn {MOST_IDLE} "
        "pool-purge-delay 1s",
        f"server direct unix@./{direct_socket(service.name)} backup no-check pool-max-conn 0",
    ]


def _direct(service: Service, client_limits: list[str], split: list[str]) -> list[str]:
    return [
        f"frontend {service.name}.direct",
        f"bind unix@./{direct_socket(service.name)} mode 600",
        *client_limits,
        f"http-request del-header {HEADER}",
        *split,
    ]


def _copies(service: Service) -> list[str]:
    lane = f"req.hdr({HEADER}),map_str({maps.shadows_file(service.name)})"
    return [
        f"frontend {service.name}.copies",
        f"bind unix@./{copies_socket(service.name)} mode 600",
        f"maxconn {MOST_COPIES}",
        f"timeout client {round(service.limits.answer_s * 1000)}ms",
        "timeout http-request 10s",
        "timeout http-keep-alive 60s",
        f"http-request set-var(txn.lane) {lane}",
        f"{_no_shadow()} unless {{ var(txn.lane) -m found }}",
        f"use_backend {service.name}.%[var(txn.lane)]",
    ]


def _no_shadow() -> str:
    why = json.dumps({"error": "this shadow has no replica"})
    return (
        f"http-request return status 503 content-type application/json string '{why}' "
        f"hdr {NO_SHADOW} 1"
    )
