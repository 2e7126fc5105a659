"""A client of one registry's ``/v2/``: logins, redirects and retries around single exchanges.

https, except to this machine, or to a host that the caller calls insecure; there plain HTTP is
tried first. A redirect is followed without Authorization. What is asked for and what the answers
mean is decided in pulling.py, pushing.py and referrers.py.

    with RegistryClient("registry.example:5000", credentials=found) as client:
        with client.send(Request("GET", "/v2/name/tags/list", ("repository:name:pull",), ...)) as a:
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from registry.errors import CancelledError, RemoteError
from registry.remote.addresses import is_loopback_host
from registry.remote.challenge import parse_challenges
from registry.remote.credentials import Credentials
from registry.remote.failures import CutError
from registry.remote.http import Answer, Body, Connections
from registry.remote.refusals import MAX_BODY_BYTES, refusal
from registry.remote.retrying import TransientError, retry_after_s, wait_s
from registry.remote.tokens import Authorizer, Scopes
from registry.remote.urls import Url, followed, registry_url
from registry.remote.waits import SLICE_S, USUAL_TIMEOUTS, Timeouts

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = "inferry"
SPEAKS_TLS = frozenset({*REDIRECTS, 400, 426})
"""What a TLS server answers to plain HTTP."""


@dataclass(frozen=True, slots=True)
class Request:
    """``target``: a path of the registry, or a URL that it gave. ``what`` says it in messages.
    ``expected``: the statuses that come back; others raise."""

    method: str
    target: str | Url
    scopes: Scopes
    what: str
    expected: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    is_followed: bool = False
    is_repeatable: bool = True


class RegistryClient:
    """``host`` as in a reference's ``api_host``. ``cancelled`` is asked while it waits. Threads
    may share it."""

    def __init__(
        self,
        host: str,
        *,
        credentials: Credentials | None = None,
        insecure: bool = False,
        ca_file: Path | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        timeouts: Timeouts = USUAL_TIMEOUTS,
        only_public: bool = False,
    ) -> None:
        self.host = host
        self._only_public = only_public
        self._credentials = credentials
        self._ca_file = ca_file
        self._timeouts = timeouts
        self._cancelled = cancelled
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._reached: _Reached | None = None
        name = registry_url(host, "https").host
        self._may_be_plain = ca_file is None and (insecure or is_loopback_host(name))

    def send(self, request: Request) -> Answer:
        """The answer, with one of the expected statuses. Raises RemoteError, CancelledError."""
        attempt = 1
        while True:
            try:
                return self._try(request)
            except TransientError as error:
                wait = wait_s(attempt, error.asked_s) if request.is_repeatable else None
                if wait is None:
                    raise
            self.pause(wait)
            attempt += 1

    def location(self, base: Url, location: str | None) -> Url:
        """The URL that an answer from ``base`` names. Raises RemoteError."""
        if not location:
            raise RemoteError(f"{self.host} does not say where to send the data")
        return followed(base, location, self._connected().url)

    def pause(self, seconds: float) -> None:
        """Sleep, unless cancelled."""
        while seconds > 0:
            self.check()
            self._sleep(min(seconds, SLICE_S))
            seconds -= SLICE_S

    def check(self) -> None:
        """Raises CancelledError if the operation was cancelled."""
        if self._cancelled():
            raise CancelledError("the transfer was cancelled")

    def close(self) -> None:
        """Ends all connections."""
        if self._reached is not None:
            self._reached.connections.close()

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _try(self, request: Request) -> Answer:
        reached = self._connected()
        target = request.target
        url = target if isinstance(target, Url) else reached.url.at(target)
        is_ours = url.origin == reached.url.origin
        authorization = reached.authorizer.held(request.scopes) if is_ours else None
        answer = self._follow(reached, request, url, authorization)
        if answer.status == 401 and is_ours and answer.url.origin == url.origin:
            challenges = parse_challenges(answer.headers("www-authenticate"))
            with answer:
                offered = reached.authorizer.answer(challenges, request.scopes, authorization)
                if offered is None:
                    raise self._refusal(reached, request, answer)
            answer = self._follow(reached, request, url, offered)
        if answer.status in request.expected:
            return answer
        with answer:
            raise self._refusal(reached, request, answer)

    def _follow(
        self, reached: _Reached, request: Request, url: Url, authorization: str | None
    ) -> Answer:
        headers = {"User-Agent": USER_AGENT, **request.headers}
        own = {"Authorization": authorization} if authorization else {}
        for _ in range(MAX_REDIRECTS + 1):
            answer = reached.connections.exchange(
                request.method, url, {**headers, **own}, request.body
            )
            if answer.status not in REDIRECTS or not request.is_followed:
                return answer
            with answer:
                url = followed(url, answer.header("location") or "", reached.url)
            own = {}
        raise RemoteError(
            f"{self.host} redirects more than {MAX_REDIRECTS} times for {request.what}"
        )

    def _refusal(self, reached: _Reached, request: Request, answer: Answer) -> RemoteError:
        body = b"" if request.method == "HEAD" else answer.read_some(MAX_BODY_BYTES)
        return refusal(
            self.host if answer.url.origin == reached.url.origin else answer.url.authority,
            request.what,
            answer.status,
            body,
            secrets=reached.authorizer.secrets,
            asked_s=retry_after_s(answer.header("retry-after")),
        )

    def _connected(self) -> _Reached:
        with self._lock:
            if self._reached is None:
                self._reached = self._reach()
            return self._reached

    def _reach(self) -> _Reached:
        if self._may_be_plain:
            plain = self._open("http")
            if _speaks_http(plain):
                return plain
            plain.connections.close()
        return self._open("https")

    def _open(self, scheme: str) -> _Reached:
        url = registry_url(self.host, scheme)
        connections = Connections(
            url,
            ca_file=self._ca_file,
            check=self.check,
            timeouts=self._timeouts,
            only_public=self._only_public,
        )
        return _Reached(
            url, connections, Authorizer(url, connections, self._credentials, self._clock)
        )


@dataclass(frozen=True, slots=True)
class _Reached:
    """The registry, once it is known whether it speaks TLS."""

    url: Url
    connections: Connections
    authorizer: Authorizer


def _speaks_http(plain: _Reached) -> bool:
    """Nothing secret is sent. A TLS server answers an error, or cuts the connection."""
    try:
        headers = {"User-Agent": USER_AGENT}
        with plain.connections.exchange("GET", plain.url.at("/v2/"), headers) as answer:
            return answer.status not in SPEAKS_TLS
    except CutError:
        return False
