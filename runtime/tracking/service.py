"""Requests of a training script to a workspace's service: MessagePack on one connection.

    service = Service.of_user("https://models.example.com", os.environ)
    service.ask("POST", f"/runs/{id}/beat", {})

The command line's client (runtime/remote/client.py) does more and takes half a second to load,
which no script is to wait for; and no connection of its pool may live on in a process that was
forked off. Every request that is made here may be made twice. Proxies are not looked for.
"""

from __future__ import annotations

import http.client
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from runtime.errors import BadValueError, ServiceError
from runtime.remote.logins import token_for
from runtime.remote.place import Place, parse_place

CA, PLAIN = "INFERRY_CA", "INFERRY_INSECURE_HTTP"
API, MSGPACK = "/api/v1", "application/msgpack"
CONNECT_S, ANSWER_S = 5.0, 30.0
PASSING = frozenset((429, 500, 502, 503, 504))
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class Service:
    """Threads may share it, and a process that is forked off; they speak one after another."""

    def __init__(
        self,
        place: Place,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        may_be_plain: bool = False,
    ) -> None:
        if token is not None and place.is_plain and not may_be_plain:
            raise BadValueError(
                f"the token would go to {place.root} in plain text; use https, or set"
                f" {PLAIN}=1 where something else encrypts"
            )
        if token is not None and not (token.isascii() and token.isprintable()):
            raise BadValueError("the token is none: it has characters that no token has")
        self.place = place
        self._token = token
        self._ca_file = ca_file
        self._workspace = place.workspace
        self._forget()

    def __repr__(self) -> str:
        return f"Service({str(self.place)!r})"

    def __del__(self) -> None:
        """A run that was only looked at has no end that would do it."""
        with suppress(Exception):
            self._hang_up()

    @classmethod
    def of_user(cls, url: str, environment: Mapping[str, str]) -> Service:
        """With the token and the authority that the environment and the user's files have. Raises
        BadValueError."""
        place = parse_place(url)
        ca = environment.get(CA)
        return cls(
            place,
            token=token_for(place, environment),
            ca_file=Path(ca) if ca else None,
            may_be_plain=environment.get(PLAIN) == "1",
        )

    def ask(self, method: str, path: str, given: Mapping[str, Any], *, answer: Any = Any) -> Any:
        """The answer of a route below the workspace. Raises ServiceError where the service is away
        or lets nobody in, and the errors of registry.errors and runtime.errors."""
        if self._pid != os.getpid():
            theirs = self._connection
            self._forget()
            if theirs is not None:
                theirs.close()  # here alone
        with self._lock:
            found = self._asked(method, self._root() + path, given)
        return self._decoded(found, answer) if found else None

    def send(self, path: str, given: Mapping[str, Any], body: Iterator[bytes], size: int) -> Any:
        """The answer to a PUT of ``size`` bytes, which is tried once. Raises as ``ask``."""
        headers = {
            **self._headers(),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }
        with self._lock:
            whole = f"{self._root()}{path}?{urlencode(given)}"
            return self._decoded(self._exchanged("PUT", whole, body, headers), Any)

    def close(self) -> None:
        """End the connection; the next request makes another."""
        with self._lock:
            self._hang_up()

    def _root(self) -> str:
        if not self._workspace:
            info = self._decoded(self._asked("GET", f"{API}/info", {}), dict[str, Any])
            self._workspace = str(info["default"])
        return f"{API}/workspaces/{self._workspace}"

    def _headers(self) -> dict[str, str]:
        found = {"Accept": MSGPACK, "User-Agent": "inferry"}
        if self._token is not None:
            found["Authorization"] = f"Bearer {self._token}"
        return found

    def _forget(self) -> None:
        """What belongs to the process that this one was forked off from."""
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._pid = os.getpid()

    def _asked(self, method: str, path: str, given: Mapping[str, Any]) -> bytes:
        body, headers = None, self._headers()
        if method in ("GET", "DELETE"):
            path = f"{path}?{urlencode(given)}" if given else path
        else:
            body, headers["Content-Type"] = msgspec.msgpack.encode(given), MSGPACK
        is_kept = self._connection is not None
        try:
            return self._exchanged(method, path, body, headers)
        except ServiceError as error:
            if not (is_kept and error.is_passing and error.status is None):
                raise
        return self._exchanged(method, path, body, headers)  # it was too old to be used

    def _exchanged(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None,
        headers: Mapping[str, str],
    ) -> bytes:
        connection = self._connected()
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            data = response.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            raise ServiceError(
                f"{self.place.root} cut the connection ({_reason(error)})", is_passing=True
            ) from None
        except BaseException:  # an answer that nobody read belongs to no other request
            self._hang_up()
            raise
        if response.will_close or not response.isclosed():
            self._hang_up()
        if response.status >= 300:
            raise self._refused(response.status, data)
        return data

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            made = self._made()
            try:
                made.connect()
            except ssl.SSLCertVerificationError:
                raise ServiceError(
                    f"the certificate of {self.place.root} is not trusted; name the file of the"
                    f" authority that signed it in ${CA}"
                ) from None
            except OSError as error:
                made.close()
                raise ServiceError(
                    f"{self.place.root} cannot be reached ({_reason(error)})", was_not_sent=True
                ) from None
            assert made.sock is not None
            made.sock.settimeout(ANSWER_S)
            self._connection = made
        return self._connection

    def _made(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.place.root)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=CONNECT_S)
        context = ssl.create_default_context()
        if self._ca_file is not None:
            try:
                context.load_verify_locations(cafile=self._ca_file)
            except (OSError, ssl.SSLError):
                raise BadValueError(
                    f"${CA}: {self._ca_file} cannot be read; it must hold certificates in PEM form"
                ) from None
        return http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_S, context=context)

    def _hang_up(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None

    def _refused(self, status: int, data: bytes) -> Exception:
        from runtime.workspace_service.faults import error_of

        if status == 401:
            return ServiceError(
                f"{self.place} takes no one without a good token; log in with:"
                f" inferry login {self.place}",
                status=401,
            )
        try:
            told = msgspec.json.decode(data, type=dict[str, dict[str, Any]])["error"]
        except (msgspec.DecodeError, KeyError):
            return ServiceError(
                f"{self.place.root} answers {status}, not as an Inferry service does; check the"
                " URL",
                status=status,
                is_passing=status in PASSING,
            )
        if status == 403 or status in PASSING or told.get("code") == "no_workspace":
            said = str(told.get("message"))
            return ServiceError(said, status=status, is_passing=status in PASSING)
        return error_of(told)

    def _decoded(self, data: bytes, kind: Any) -> Any:
        try:
            return msgspec.msgpack.decode(data, type=kind)
        except (msgspec.DecodeError, RecursionError):
            raise ServiceError(f"{self.place.root} answers with what is no answer") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) else None
    return (text or str(error) or type(error).__name__).lower()
