"""What is wanted: services, each at one port, and the replicas of its versions.

    service = Service(
        name="digits",
        port=8000,
        versions=(
            Version("digits:7", share=95, replicas=(Replica("127.0.0.1", 9001),)),
            Version("digits:8", share=5, replicas=(Replica("127.0.0.1", 9002),)),
        ),
        keys=Keys(primary=key_digest_of(key), secondary=key_digest_of(other)),
    )
    Balance(services=(service,), metrics_port=9100)

A value that exists is valid: every one is checked when it is made (words.py), so what is made from
it needs no checks. Making one raises InvalidBalanceError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from runtime.balance import words
from runtime.balance.errors import InvalidBalanceError

KEY_CHARACTERS = 32
"""A key's least length: it is kept as a plain SHA-256, which only protects what nobody guesses."""
NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Replica:
    """A server process. ``weight``: its part of its version's requests, relative to the others'
    (1 to 256). ``is_draining``: no new requests; those that it has are finished."""

    address: str
    port: int
    weight: int = 100
    is_draining: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", words.ip_address(self.address))
        words.port(self.port)
        words.whole(self.weight, 1, 256, "weight")
        words.flag(self.is_draining, "is_draining")

    @property
    def place(self) -> tuple[str, int]:
        """What makes it this replica: where it listens."""
        return (self.address, self.port)


@dataclass(frozen=True, slots=True)
class Version:
    """``share``: its part of the service's requests, relative to the other versions'; with 0 it
    gets none. ``max_requests``: of one replica at a time, further ones wait; 0: no limit.
    ``copies``: it is a shadow, which gets no request, but a copy of so many in 10,000."""

    name: str
    share: int
    replicas: tuple[Replica, ...] = ()
    max_requests: int = 0
    copies: int = 0

    def __post_init__(self) -> None:
        words.version_name(self.name)
        words.whole(self.share, 0, 10_000, "share")
        words.whole(self.max_requests, 0, NO_LIMIT, "max_requests")
        words.whole(self.copies, 0, 10_000, "copies")
        if self.share and self.copies:
            raise InvalidBalanceError(f"version {self.name}: a shadow has no share of the requests")
        _once((replica.place for replica in self.replicas), f"replica of version {self.name}")

    @property
    def most_requests(self) -> int:
        """As HAProxy is told it."""
        return self.max_requests or NO_LIMIT


@dataclass(frozen=True, slots=True)
class Keys:
    """The digests of the two keys that open a service (``key_digest_of``)."""

    primary: str
    secondary: str

    def __post_init__(self) -> None:
        words.key_digest(self.primary)
        words.key_digest(self.secondary)
        _once((self.primary, self.secondary), "key")


@dataclass(frozen=True, slots=True)
class Health:
    """A replica is down after ``fall`` bad answers in a row and up again after ``rise`` good ones.
    One that is down, or has just failed, is asked twice as often."""

    path: str = "/readyz"
    interval_s: float = 0.5
    timeout_s: float = 1.0
    fall: int = 2
    rise: int = 1

    def __post_init__(self) -> None:
        words.url_path(self.path)
        words.seconds(self.interval_s, 0.05, 3600, "health interval")
        words.seconds(self.timeout_s, 0.05, 60, "health timeout")
        words.whole(self.fall, 1, 100, "fall")
        words.whole(self.rise, 1, 100, "rise")


@dataclass(frozen=True, slots=True)
class Limits:
    """``queue``: requests that wait for one version's replicas, each ``queue_s`` at most; further
    ones get a 429. ``hold_s``: how long a request waits when no replica is there at all (scaled to
    zero, or all of them died). ``answer_s``: from the request to each next byte of its answer.
    ``connect_s``: to a replica; who meets one that is gone waits so long before another is tried,
    too (HAProxy's turn-around, where it balances by the fewest connections). ``header_s``: for a
    client to send its request's head; ``idle_s``: between two requests on a
    connection."""

    connections: int = 2000
    queue: int = 1000
    queue_s: float = 5
    hold_s: float = 30
    connect_s: float = 0.3
    answer_s: float = 60
    header_s: float = 10
    idle_s: float = 60

    def __post_init__(self) -> None:
        words.whole(self.connections, 1, 1_000_000, "connections")
        words.whole(self.queue, 1, 1_000_000, "queue")
        words.seconds(self.queue_s, 0.01, 3600, "queue_s")
        words.seconds(self.hold_s, 0, 3600, "hold_s")
        words.seconds(self.connect_s, 0.01, 60, "connect_s")
        words.seconds(self.answer_s, 0.01, 86_400, "answer_s")
        words.seconds(self.header_s, 0.1, 600, "header_s")
        words.seconds(self.idle_s, 0.1, 3600, "idle_s")
        if self.hold_s >= self.answer_s:
            raise InvalidBalanceError("hold_s must be less than answer_s, or nobody is answered")


@dataclass(frozen=True, slots=True)
class Service:
    """One URL. ``certificate``: a PEM file with chain and private key; with it the port speaks TLS.
    ``sticky_header``: requests with the same value of it go to the same version and, while that is
    there, the same replica. ``is_repeatable``: a request that was sent to a replica which then died
    may be run again by another one."""

    name: str
    port: int
    versions: tuple[Version, ...] = ()
    address: str = "127.0.0.1"
    keys: Keys | None = None
    certificate: str | None = None
    sticky_header: str | None = None
    is_repeatable: bool = False
    health: Health = field(default_factory=Health)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        words.service_name(self.name)
        words.port(self.port)
        object.__setattr__(self, "address", words.ip_address(self.address))
        words.flag(self.is_repeatable, "is_repeatable")
        if self.sticky_header is not None:
            words.header_name(self.sticky_header)
        _once((version.name for version in self.versions), f"version of service {self.name}")
        if self.versions and not any(version.share for version in self.versions):
            raise InvalidBalanceError(f"service {self.name}: give one version a share above 0")

    @property
    def has_shadow(self) -> bool:
        """Some of its requests are copied."""
        return any(version.copies for version in self.versions)


@dataclass(frozen=True, slots=True)
class Balance:
    """All that one HAProxy does. ``metrics_port``: where it shows /metrics to Prometheus;
    ``threads``: 0 for one per CPU; ``finish_s``: how long what had begun before a reload may go
    on."""

    services: tuple[Service, ...] = ()
    metrics_port: int | None = None
    metrics_address: str = "127.0.0.1"
    connections: int = 4000
    threads: int = 0
    finish_s: float = 120

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics_address", words.ip_address(self.metrics_address))
        words.whole(self.connections, 10, 1_000_000, "connections")
        words.whole(self.threads, 0, 64, "threads")
        words.seconds(self.finish_s, 1, 86_400, "finish_s")
        if self.metrics_port is not None:
            words.port(self.metrics_port)
        _once((service.name for service in self.services), "service")
        _once(self.listeners, "listener")

    @property
    def listeners(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each."""
        places = [(service.address, service.port) for service in self.services]
        if self.metrics_port is not None:
            places.append((self.metrics_address, self.metrics_port))
        return tuple(places)


def key_digest_of(key: str) -> str:
    """Of a key that a client sends as ``Authorization: Bearer KEY``."""
    if not (len(key) >= KEY_CHARACTERS and key.isascii() and key.isprintable() and " " not in key):
        raise InvalidBalanceError(f"a key is {KEY_CHARACTERS} or more ASCII characters, no spaces")
    return hashlib.sha256(key.encode()).hexdigest()


def _once(values: Iterable[Hashable], what: str) -> None:
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            named = ":".join(map(str, value)) if isinstance(value, tuple) else value
            raise InvalidBalanceError(
                f"{what} twice" if what == "key" else f"{what} twice: {named}"
            )
        seen.add(value)
