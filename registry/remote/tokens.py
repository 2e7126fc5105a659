"""Answers a registry's 401: Basic, or a bearer token from the service it names.

Tokens are kept until they expire. A password goes only over TLS or to this machine, and to the
service that the registry names; a redirect never gets it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from registry.errors import RemoteError
from registry.remote.challenge import Challenge
from registry.remote.credentials import Credentials
from registry.remote.http import Body, Connections
from registry.remote.refusals import MAX_BODY_BYTES, refusal
from registry.remote.retrying import retry_after_s
from registry.remote.urls import Url, followed

MAX_TOKEN_BYTES = 256 * 1024
DEFAULT_LIFE_S = 60.0
EARLY_S = 5.0
"""A token is renewed this long before it expires."""
CLIENT_ID = "inferry"
Scopes = tuple[str, ...]


class Authorizer:
    """What goes into Authorization, for one registry and one user. Threads may share it."""

    def __init__(
        self,
        registry: Url,
        connections: Connections,
        credentials: Credentials | None,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._credentials = credentials or Credentials()
        self._clock = clock
        self._lock = threading.Lock()
        self._is_basic = False
        self._tokens: dict[Scopes, tuple[str, float]] = {}

    @property
    def secrets(self) -> list[str]:
        """What no message may hold."""
        tokens = [value.removeprefix("Bearer ") for value, _ in self._tokens.values()]
        return [*self._credentials.secrets, *tokens]

    def held(self, scopes: Scopes) -> str | None:
        """The header's value as far as it is known."""
        if self._is_basic:
            return self._credentials.basic
        value, expires = self._tokens.get(scopes, ("", 0.0))
        return value if value and self._clock() < expires else None

    def answer(
        self, challenges: Sequence[Challenge], scopes: Scopes, refused: str | None
    ) -> str | None:
        """A new value after ``refused`` was; None if there is nothing better to offer. Raises
        RemoteError for a token service that fails."""
        with self._lock:
            held = self.held(scopes)
            if held is not None and held != refused:  # another thread was faster
                return held
            bearer = next((c for c in challenges if c.scheme == "bearer"), None)
            if bearer is not None:
                return self._bearer(bearer, scopes, refused)
            if any(c.scheme == "basic" for c in challenges) and refused is None:
                return self._basic()
            return None

    def _basic(self) -> str | None:
        if not self._credentials.basic:
            return None
        if not self._registry.is_safe:
            raise RemoteError(
                f"{self._registry.authority} asks for a password, which is not sent over plain"
                " HTTP; set the registry up with TLS",
                status=401,
            )
        self._is_basic = True
        return self._credentials.basic

    def _bearer(self, challenge: Challenge, scopes: Scopes, refused: str | None) -> str | None:
        token, life_s = self._credentials.registry_token, DEFAULT_LIFE_S * 1440
        if token:
            if not self._registry.is_safe or refused is not None:
                return None
        else:
            token, life_s = self._fetch(challenge, scopes)
        value = f"Bearer {token}"
        self._tokens[scopes] = (value, self._clock() + max(0.0, life_s - EARLY_S))
        return None if value == refused else value

    def _fetch(self, challenge: Challenge, scopes: Scopes) -> tuple[str, float]:
        realm = challenge.parameters.get("realm", "")
        if not realm:
            raise RemoteError(
                f"{self._registry.authority} asks for a token but not says from where"
            )
        url = followed(self._registry, realm, self._registry)
        ours = {scope.rpartition(":")[0] for scope in scopes}
        asked = challenge.parameters.get("scope", "").split(" ")
        wanted = [
            *scopes,
            *(scope for scope in asked if scope.rpartition(":")[0] not in {*ours, ""}),
        ]
        service = challenge.parameters.get("service", "")
        if self._credentials.identity_token and url.is_safe:
            return self._exchange_identity(url, service, wanted)
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in wanted]
        basic = self._credentials.basic if url.is_safe else ""
        joint = "&" if "?" in url.target else "?"
        headers = {"Authorization": basic} if basic else {}
        return self._ask("GET", url.at(f"{url.target}{joint}{urlencode(query)}"), headers)

    def _exchange_identity(
        self, url: Url, service: str, scopes: Sequence[str]
    ) -> tuple[str, float]:
        form = urlencode(
            {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.identity_token,
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(scopes),
            }
        ).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", url, headers, Body(len(form), lambda: iter([form])))

    def _ask(
        self, method: str, url: Url, headers: Mapping[str, str], body: Body | None = None
    ) -> tuple[str, float]:
        with self._connections.exchange(method, url, headers, body) as answer:
            if answer.status != 200:
                said = answer.read_some(MAX_BODY_BYTES)
                # docker login names the registry, wherever its tokens come from.
                raise refusal(
                    self._registry.authority,
                    f"a token from {url}",
                    answer.status,
                    said,
                    secrets=self.secrets,
                    asked_s=retry_after_s(answer.header("retry-after")),
                )
            return _token(answer.read(MAX_TOKEN_BYTES, "token"), url)


def _token(data: bytes, url: Url) -> tuple[str, float]:
    """The token and for how many seconds it holds."""
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    document = document if isinstance(document, dict) else {}
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        raise RemoteError(f"{url} gives no token that can be read")
    life = document.get("expires_in")
    is_life = isinstance(life, int | float) and not isinstance(life, bool) and 0 < life < 1e9
    return token, float(life) if is_life and life is not None else DEFAULT_LIFE_S
