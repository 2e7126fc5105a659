"""What all connections of a server process share: routes, limits, ids, the clock's sweep, the end.

front = Front(site, config, ...)
loop.connect_accepted_socket(lambda: ScoringProtocol(front, loop, slot), sock)
await front.drain(until)
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from scoring.azure.cors import Cors
from scoring.azure.identity import MAX_ID_CHARS, TooLong, request_ids
from scoring.config import ServerConfig
from scoring.http import access_log
from scoring.http.answer import Answer, Headers, error_answer, head_bytes
from scoring.http.call import Call
from scoring.http.ids import IdSource
from scoring.http.known_heads import KnownHeads
from scoring.http.protocol import ScoringProtocol
from scoring.http.watch import Watch
from scoring.http.wire import parse_target

logger = logging.getLogger("scoring")
NOT_SCORED = frozenset({"/", "/healthz"})

HEAD_BYTES = 64 * 1024
HEAD_S = 30.0
SWEEP_S = 0.25
QUIET_S = 0.5
"""How long a connection must have been idle before a stopping server closes it: a request that was
on its way then has arrived and is answered."""

_IDS = (b"x-request-id", b"x-ms-request-id", b"x-ms-client-request-id", b"traceid")


class ScoringRoute(Protocol):
    """A route below ASGI."""

    name: str
    """What metrics call it."""

    def refuse_unread(self, call: Call) -> Answer | None:
        """The answer that the head alone calls for, if any."""

    def begin(self, call: Call) -> None:
        """Answer, now or later, by ``call.reply``. Must not raise."""


class Site(Protocol):
    """What is served."""

    asgi: ASGIApp
    failed_headers: Headers
    """What the server's own errors carry."""
    server_version: str | None

    def match(self, method: str, path: str) -> ScoringRoute | None:
        """The route of a request below ASGI; None: Starlette answers."""

    def set_eager(self, is_eager: bool) -> None:
        """Whether there is one client at most."""

    def refuse_unread(self, method: str, path: str) -> Answer | None:
        """The answer to a body that is offered to a path which takes none."""


class Link(Protocol):
    """The supervisor, as far as connections matter to it (scoring/supervision/parent_link.py)."""

    def received(self, slot: int, size_bytes: int) -> None:
        """Bytes were read: the connection is busy."""

    def wrote(self, slot: int, size_bytes: int) -> None:
        """Bytes were given to the transport."""

    def answered(self, slot: int, size_bytes: int) -> None:
        """Likewise, and they were the last that are due: the connection is idle."""

    def closed(self, slot: int) -> None:
        """The connection has ended."""

    def released(self, slot: int) -> None:
        """The connection is somebody else's now."""


class NoLink:
    """There is no supervisor."""

    def received(self, slot: int, size_bytes: int) -> None:
        """Nobody asks."""

    def wrote(self, slot: int, size_bytes: int) -> None:
        """Nobody asks."""

    def answered(self, slot: int, size_bytes: int) -> None:
        """Nobody asks."""

    def closed(self, slot: int) -> None:
        """Nobody asks."""

    def released(self, slot: int) -> None:
        """Nobody asks."""


class Counts(Protocol):
    """Where answers are counted."""

    def answered(self, route: str, code: int, seconds: float) -> None:
        """One answer."""


class Front:
    """One of them for each server process."""

    def __init__(
        self,
        site: Site,
        config: ServerConfig,
        counts: Counts,
        link: Link | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.site = site
        self.config = config
        self.limits = config.limits
        self.counts = counts
        self.link: Link = link or NoLink()
        self.clock = clock
        self.now = clock()
        self.head_bytes = HEAD_BYTES
        self.head_s = HEAD_S
        self.is_closing = False
        self.is_retiring = False
        self._watch: Watch | None = None
        self._is_seen = config.watching.access_log is not None
        self.server_state = ServerState()
        self.uvicorn_config = _uvicorn_config(site.asgi)
        self.body_digits = len(str(config.limits.body_bytes))
        """No shorter Content-Length is too large."""
        self.too_large = f"the request body is larger than {config.limits.body_bytes} bytes"
        self._cors = Cors(config.cors_origins) if config.cors_origins else None
        self._ids = IdSource()
        self._exact: dict[tuple[str, bytes], ScoringRoute] = {}
        self.known_heads = KnownHeads()
        self._heads: dict[tuple[int, Headers], bytes] = {}
        self._to_release = 0
        self._is_release_due = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._date_second = 0
        self.date_line = b""
        self.default_headers: list[tuple[bytes, bytes]] = []
        self._mark_date()

    @property
    def watch(self) -> Watch | None:
        """Sees what is scored; None: nobody wants to."""
        return self._watch

    @watch.setter
    def watch(self, watch: Watch | None) -> None:
        self._watch = watch
        self._is_seen = watch is not None or self.config.watching.access_log is not None

    @property
    def connections(self) -> set[Any]:
        """All that are open."""
        return self.server_state.connections

    def start(self) -> None:
        """Begin to sweep; in the loop's thread."""
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def stop(self) -> None:
        """Sweep no more."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    # Connections

    def opened(self, connection: ScoringProtocol) -> None:
        """A connection is there (uvicorn keeps the set)."""
        self.site.set_eager(len(self.connections) <= 1)

    def closed(self, connection: ScoringProtocol) -> None:
        """A connection has ended, or is another process's now."""
        self.site.set_eager(len(self.connections) <= 1)
        if connection.released:
            self.link.released(connection.slot)
        else:
            self.link.closed(connection.slot)

    @property
    def is_releasing(self) -> bool:
        """Whether idle connections are to be given up."""
        return self.is_retiring or self._to_release > 0

    def give_back(self, count: int) -> None:
        """Release ``count`` connections, as they become idle."""
        self._to_release = count
        self._release_idle()

    def retire(self) -> None:
        """Release every connection as it becomes idle; nothing new comes."""
        self.is_retiring = True
        self._release_idle()

    def release_soon(self) -> None:
        """A connection has got idle while some are to be given up: once its answer is written."""
        if not self._is_release_due:
            self._is_release_due = True
            asyncio.get_running_loop().call_soon(self._release_idle)

    def _release_idle(self) -> None:
        self._is_release_due = False
        for connection in list(self.connections):
            if not self.is_releasing:
                return
            if connection.is_idle:
                self._to_release -= 1
                connection.release()

    # Requests

    def route(self, call: Call) -> None:
        """Set the call's path, query and route. Raises TargetError."""
        target = call.target
        found = self._exact.get((call.method, target))
        if found is not None:
            call.path = found.name
            call.route = found
            return
        parsed = parse_target(target)
        path = call.path = parsed.path
        call.query = parsed.query
        if path.startswith("/v2/"):  # names in it are decoded once, by parse_path
            path = parsed.raw_path.decode("ascii")
        call.route = self.site.match(call.method, path)
        if call.route is not None and target == call.route.name.encode():
            self._exact[call.method, target] = call.route

    def begin(self, call: Call) -> None:
        """Hand a whole request to its route."""
        if self._watch is not None:
            self._watch.began(call)
        if call.has_ids:
            named = call.named
            for name in _IDS:
                if name in named:
                    if not self._take_ids(call):
                        return
                    break
        try:
            call.route.begin(call)
        except Exception:
            logger.exception("a route failed")
            call.reply(self.refusal(500, "internal error"))

    def refuse_unread(self, call: Call) -> Answer | None:
        """The answer to a request whose body need not be sent; None when it must be read."""
        if self._has_long_id(call):
            return self.refusal(431, "a request id is too long")
        if call.route is not None:
            refusal: Answer | None = call.route.refuse_unread(call)
            return refusal
        if call.path.startswith("/v2"):
            return None
        return self.site.refuse_unread(call.method, call.path)

    def _has_long_id(self, call: Call) -> bool:
        return any(len(call.named.get(name, b"")) > MAX_ID_CHARS for name in _IDS[:3])

    def abandon(self, call: Call) -> None:
        """The client has left: what waits for it need not run."""
        if self.watch is not None:
            self.watch.abandoned(call)
        if call.work is None or call.dispatcher is None:
            return
        if not call.dispatcher.drop(call.work):  # it runs
            call.work = None  # see Call.reply

    def refusal(self, status: int, message: str) -> Answer:
        """An error that the server itself answers."""
        return error_answer(status, message, self.site.failed_headers)

    def head(self, call: Call, answer: Answer, framing: bytes) -> bytes:
        """The answer's head, with ids, server version and CORS on a scoring route. Counts it."""
        route = call.route
        seconds = self.clock() - call.started
        if route is None:
            self.counts.answered("other", answer.status, seconds)
            return head_bytes(answer, framing, self.date_line)
        self.counts.answered(route.name, answer.status, seconds)
        if call.ids is None and self._cors is None:
            key = (answer.status, answer.headers)
            start = self._heads.get(key)
            if start is None:
                start = self._start_of(answer)
                if len(self._heads) < 1000:
                    self._heads[key] = start
            new = self._ids.new()
            if self._is_seen:
                self._show(call, answer, seconds, new.decode())
            return b"%b%bx-request-id: %b\r\nx-ms-request-id: %b\r\n%b\r\n" % (
                start,
                self.date_line,
                new,
                new,
                framing,
            )
        return self._slow_head(call, answer, framing)

    def _start_of(self, answer: Answer) -> bytes:
        """Status line and headers without ids and date, for answers that come often."""
        if self.site.server_version:
            answer = answer.with_more([("x-ms-server-version", self.site.server_version)])
        own = {"x-request-id", "x-ms-request-id"}  # a client id of the script's stays
        kept = tuple(pair for pair in answer.headers if pair[0].lower() not in own)
        return head_bytes(Answer(answer.status, kept), b"", b"")[:-2]

    def _slow_head(self, call: Call, answer: Answer, framing: bytes) -> bytes:
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in call.named.items()}
        ids = call.ids or request_ids(headers, lambda: self._ids.new().decode())
        names = {name.lower() for name, _ in answer.headers}
        added = []
        if self._cors is not None and "access-control-allow-origin" not in names:
            added += self._cors.response_headers(call.method, headers)
        if self.site.server_version:
            added.append(("x-ms-server-version", self.site.server_version))
        pairs = ids.response_headers()
        if self._is_seen:
            sent = dict(pairs).get("x-request-id", "")
            self._show(call, answer, self.clock() - call.started, sent)
        added += [pair for pair in pairs if pair[0] == "TraceId"]
        finished = answer.with_more(added).with_headers(p for p in pairs if p[0] != "TraceId")
        return head_bytes(finished, framing, self.date_line)

    def _take_ids(self, call: Call) -> bool:
        """Read the client's ids; False when the request is refused for one of them."""
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in call.named.items()}
        ids = request_ids(headers, lambda: self._ids.new().decode())
        if isinstance(ids, TooLong):
            call.ids = ids.ids
            call.reply(self.refusal(431, ids.message))
            return False
        call.ids = ids
        return True

    def _show(self, call: Call, answer: Answer, seconds: float, request_id: str) -> None:
        """Tell those who want to know of each scoring request."""
        if self.watch is not None:
            self.watch.answered(call, answer, seconds, request_id)
        form = self.config.watching.access_log
        if form and call.path not in NOT_SCORED:
            access_log.write(form, call, answer, seconds, request_id)

    # Time

    def _sweep(self) -> None:
        wait_s = SWEEP_S / 10 if self.is_closing or self.is_releasing else SWEEP_S
        self._sweeper = asyncio.get_running_loop().call_later(wait_s, self._sweep)
        self.now = now = self.clock()
        self._mark_date()
        for connection in list(self.connections):
            connection.sweep(now)
        if self.is_closing:
            self._close_quiet(now)
        if self.is_releasing:
            self._release_idle()

    def _mark_date(self) -> None:
        second = int(time.time())
        if second != self._date_second:
            self._date_second = second
            date = email.utils.formatdate(second, usegmt=True).encode()
            self.date_line = b"date: " + date + b"\r\n"
            self.default_headers = [(b"date", date)]

    async def drain(self, until: float) -> None:
        """Answer what comes on open connections, saying that it was the last; return when none is
        left, or at the monotonic second ``until``."""
        self.is_closing = True
        self._drained_from = self.clock()
        while self.connections and self.clock() < until:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()

    def _close_quiet(self, now: float) -> None:
        for connection in list(self.connections):
            quiet_s = now - max(connection.idle_since, self._drained_from)
            if connection.is_idle and quiet_s > QUIET_S:
                connection.transport.close()

    _drained_from = 0.0


def _uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
    )
    config.load()
    return config
