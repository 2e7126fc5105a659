"""Who is signed in. A session is kept here, not in the browser, which has a random word for it.

What a session may do is looked up anew with each request, in the workspace's tokens: one that is
revoked or expires ends its sessions at once. Sessions are in memory: a service that starts anew
knows none.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from registry.distribution.tokens import UNNAMED, Token
from runtime.workspace_service.roles import Who
from runtime.workspace_service.site import Site

LIFETIME_S = 12 * 3600.0
IDLE_S = 2 * 3600.0
MOST = 10_000
_WORD = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 random bytes, as token_urlsafe has them."""


@dataclass(frozen=True, slots=True)
class Session:
    """``word`` is what the browser says, and "" where it said nothing that is one. ``grants``:
    the token's name and when it was made, by workspace; empty for one who is not signed in."""

    word: str
    grants: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    is_new: bool = False


@dataclass(slots=True)
class _Kept:
    grants: Mapping[str, tuple[str, float]]
    made_s: float
    seen_s: float


class Sessions:
    """Of one service; any thread may ask. ``clock``: seconds, which need not mean a date."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    def find(self, word: str) -> Session:
        """The session that a browser means: one that is signed in, or nobody's."""
        if _WORD.fullmatch(word) is None:
            return Session(secrets.token_urlsafe(32), is_new=True)
        now = self._clock()
        with self._lock:
            kept = self._kept.get(_mark(word))
            if kept is None:
                return Session(word)
            if now - kept.made_s > LIFETIME_S or now - kept.seen_s > IDLE_S:
                del self._kept[_mark(word)]
                return Session(word)
            kept.seen_s = now
            self._kept.move_to_end(_mark(word))
            return Session(word, kept.grants)

    def start(self, before: Session, grants: Mapping[str, tuple[str, float]]) -> Session:
        """A session with another word, which nobody could have known before; what the one before
        was granted is granted still."""
        self.end(before)
        made = Session(secrets.token_urlsafe(32), {**before.grants, **grants}, is_new=True)
        now = self._clock()
        with self._lock:
            self._kept[_mark(made.word)] = _Kept(made.grants, now, now)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return made

    def end(self, session: Session) -> None:
        """Sign out."""
        with self._lock:
            self._kept.pop(_mark(session.word), None)

    def seal(self, session: Session) -> str:
        """What each form of the session brings along: other sites cannot know it."""
        return hmac.new(self._secret, session.word.encode(), hashlib.sha256).hexdigest()

    def is_sealed(self, session: Session, given: str) -> bool:
        """Whether a form came from a page of this session."""
        return not session.is_new and hmac.compare_digest(
            self.seal(session).encode(), given.encode(errors="replace")
        )


def who_is(site: Site, workspace: str, session: Session, now_s: float) -> Who | None:
    """Whom a session means in a workspace, now. None: nobody."""
    distribution = site.distributions.get(workspace)
    if distribution is None:
        return None
    tokens = distribution.tokens.list()
    if not tokens:
        return Who(UNNAMED, "owner")
    grant = session.grants.get(workspace)
    for token in tokens:
        if (token.name, token.created_at) == grant and is_live(token, now_s):
            return Who(token.name, token.role)
    return None


def grants_of(site: Site, secret: str, now_s: float) -> dict[str, tuple[str, float]]:
    """What a token opens, by workspace; it may be of several. Nothing where it is none."""
    found = {}
    for name, distribution in site.distributions.items():
        bearer = distribution.tokens.bearer(secret)
        if bearer is None or not distribution.tokens.are_needed() or bearer.role == "puller":
            continue
        for token in distribution.tokens.list():
            if token.name == bearer.name and is_live(token, now_s):
                found[name] = (token.name, token.created_at)
    return found


def is_live(token: Token, now_s: float) -> bool:
    """Whether it opens anything."""
    return token.revoked_at is None and (token.expires_at is None or now_s < token.expires_at)


def _mark(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()
