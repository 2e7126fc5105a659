"""Requests to one workspace of a service: encoding, errors, and what is tried again.

    client = ServiceClient.of_user("https://models.example.com", os.environ)
    client.ask(routes.models.get, ref="digits")    # Model, as the function of the route says

A function of a route, with its arguments, is a request: path and method come from the table of
routes, the type of the answer from the function. Documents go both ways as MessagePack.

The only module here that names httpx. A request that changes nothing is tried again when the
connection breaks or the service is busy; one that changes something, only while nothing was sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from registry.errors import InvalidNameError, RemoteError
from registry.names import check_name
from registry.pages import Page
from registry.remote.failures import trusted
from runtime.errors import BadValueError, ServiceError
from runtime.remote.logins import token_for
from runtime.remote.place import Place, parse_place
from runtime.workspace_service.binding import MSGPACK
from runtime.workspace_service.call import Call
from runtime.workspace_service.faults import error_of
from runtime.workspace_service.links import query_of
from runtime.workspace_service.route import Route
from runtime.workspace_service.routes import TABLE
from runtime.workspace_service.routes.workspaces import ServiceInfo, info, workspace_info
from runtime.workspace_service.table import API, path_of

CA, PLAIN = "INFERRY_CA", "INFERRY_INSECURE_HTTP"
CONNECT_S, ANSWER_S = 10.0, 300.0
WAITS_S = (0.2, 0.5, 1.0, 2.0)
"""Between tries."""
BUSY = frozenset((502, 503, 504))
PASSING = frozenset(("busy", "bad_range", "slow_body"))
"""Refusals of an upload that goes on after one look at how much came."""
KEPT_S = 15.0
"""Less than the service keeps an idle connection: it must not close one while we begin to send."""
P = ParamSpec("P")
T = TypeVar("T")
Answer = httpx.Response


class ServiceClient:
    """Threads may share it. ``transport`` is httpx's, for tests."""

    def __init__(
        self,
        place: Place,
        *,
        token: str | None = None,
        ca_file: Path | None = None,
        may_be_plain: bool = False,
        transport: httpx.BaseTransport | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        if token is not None and place.is_plain and not may_be_plain:
            raise BadValueError(
                f"the token would go to {place.root} in plain text; use https, or set"
                f" {PLAIN}=1 where something else encrypts"
            )
        if token is not None and not (token.isascii() and token.isprintable()):
            raise BadValueError("the token is none: it has characters that no token has")
        self.place = place
        self.wait = wait
        headers = {"User-Agent": "inferry", "Accept-Encoding": "identity"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._http = httpx.Client(
                base_url=place.root,
                headers=headers,
                verify=trusted(ca_file) if place.root.startswith("https:") else False,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=8, keepalive_expiry=KEPT_S),
                follow_redirects=False,  # a token goes to no other place
                trust_env=not place.is_here,
                transport=transport,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise BadValueError(f"{place} is no URL of a service: {error}") from None
        except RemoteError as error:
            raise BadValueError(f"${CA}: {error}") from None

    @classmethod
    def of_user(
        cls, url: str, environment: Mapping[str, str], *, token: str | None = None
    ) -> ServiceClient:
        """With the authority, and the token if none is given, that the environment and the user's
        files have. Raises BadValueError."""
        place = parse_place(url)
        ca = environment.get(CA)
        return cls(
            place,
            token=token_for(place, environment) if token is None else token,
            ca_file=Path(ca) if ca else None,
            may_be_plain=environment.get(PLAIN) == "1",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    @cached_property
    def workspace_name(self) -> str:
        """The service's name for the workspace."""
        return self.place.workspace or self.info().default

    def info(self) -> ServiceInfo:
        """What the service is, and whom it takes us for."""
        return self.ask(info)

    def checked_info(self) -> ServiceInfo:
        """The same; the token is good for this workspace, and there is such a one. Raises
        ServiceError."""
        return self.ask(workspace_info)

    def ask(
        self, function: Callable[Concatenate[Call, P], T], *args: P.args, **given: P.kwargs
    ) -> T:
        """What the route with this function answers. Raises what the service was asked in vain:
        the errors of registry.errors and runtime.errors, and ServiceError where it is away."""
        route = _ROUTES[function]
        found: T = self._decoded(route, self._document(route, given))
        return found

    def send(
        self,
        function: Callable[Concatenate[Call, P], Coroutine[Any, Any, T]],
        content: Iterator[bytes],
        size_bytes: int,
        *args: P.args,
        **given: P.kwargs,
    ) -> T:
        """What a route answers that reads its body itself. It is tried once."""
        route = _ROUTES[function]
        headers = {
            "Accept": MSGPACK,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size_bytes),
        }
        with self._translated():
            response = self._http.request(
                route.method,
                self._path(route, given),
                params=_query(route, given),
                content=content,
                headers=headers,
            )
        found: T = self._decoded(route, self._accepted(response))
        return found

    @contextmanager
    def stream(
        self,
        function: Callable[..., Any],
        given: Mapping[str, object],
        *,
        headers: Mapping[str, str] | None = None,
        read_s: float = 60.0,
    ) -> Iterator[Answer]:
        """The answer of a GET whose body is read piece by piece. It is tried once."""
        route = _ROUTES[function]
        request = self._http.build_request(
            "GET",
            self._path(route, given),
            params=_query(route, given),
            headers=headers,
            timeout=httpx.Timeout(read_s, connect=CONNECT_S),
        )
        with self._translated():
            response = self._http.send(request, stream=True)
            try:
                if response.status_code >= 300:
                    response.read()
                    raise self._refused(response)
                yield response
            finally:
                response.close()

    def read(self, function: Callable[..., Any], given: Mapping[str, object]) -> bytes:
        """The bytes that a GET answers with, where it is no document; not many."""
        route = _ROUTES[function]
        return self._tried(
            "GET", self._path(route, given), is_safe=True, params=_query(route, given)
        ).content

    def _decoded(self, route: Route, response: Answer) -> Any:
        if route.answer is type(None):
            return None
        try:
            found = msgspec.msgpack.decode(response.content, type=route.answer)
        except (msgspec.DecodeError, RecursionError):
            raise ServiceError(f"{self.place.root} answers with what is no answer") from None
        return Page(tuple(found), _next_token(response)) if route.is_paged else found

    def _document(self, route: Route, given: Mapping[str, object]) -> Answer:
        headers = {"Accept": MSGPACK}
        if route.method in ("GET", "DELETE"):
            return self._tried(
                route.method,
                self._path(route, given),
                is_safe=route.is_reading,
                params=_query(route, given),
                headers=headers,
            )
        rest = {name: each for name, each in given.items() if name not in route.path_names}
        return self._tried(
            route.method,
            self._path(route, given),
            is_safe=False,
            content=msgspec.msgpack.encode(rest),
            headers={**headers, "Content-Type": MSGPACK},
        )

    def _path(self, route: Route, given: Mapping[str, object]) -> str:
        _check_path(route, given)
        below = path_of(route, given)
        if route in TABLE.of_service:
            return API + below
        return f"{API}/workspaces/{quote(self.workspace_name, safe='')}{below}"

    def _tried(self, method: str, path: str, *, is_safe: bool, **options: Any) -> Answer:
        for wait_s in WAITS_S:
            try:
                with self._translated():
                    response = self._http.request(method, path, **options)
            except ServiceError as error:
                if not (error.was_not_sent or (is_safe and error.is_passing)):
                    raise
            else:
                if response.status_code not in BUSY or not is_safe:
                    return self._accepted(response)
            self.wait(wait_s)
        with self._translated():
            return self._accepted(self._http.request(method, path, **options))

    def _accepted(self, response: Answer) -> Answer:
        if response.status_code >= 300:
            raise self._refused(response)
        return response

    def _refused(self, response: Answer) -> Exception:
        try:
            told = msgspec.json.decode(response.content, type=dict[str, dict[str, Any]])["error"]
        except (msgspec.DecodeError, KeyError):
            return ServiceError(
                f"{self.place.root} answers {response.status_code}, not as an Inferry service does;"
                " check the URL",
                status=response.status_code,
            )
        if response.status_code == 401:
            return ServiceError(
                f"{self.place} takes no one without a good token; log in with:"
                f" inferry login {self.place}",
                status=401,
            )
        if told.get("code") in PASSING:
            return ServiceError(
                str(told.get("message")), status=response.status_code, is_passing=True
            )
        found = error_of(told)
        if isinstance(found, ServiceError):
            found.status = response.status_code
        return found

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the network does, as ServiceErrors."""
        root = self.place.root
        try:
            yield
        except httpx.ConnectTimeout:
            raise ServiceError(
                f"{root} does not answer; check its name, its port and the network",
                was_not_sent=True,
            ) from None
        except httpx.ConnectError as error:
            raise _not_connected(root, error) from None
        except httpx.TimeoutException:
            raise ServiceError(f"{root} stopped answering; try again", is_passing=True) from None
        except httpx.TransportError:
            raise ServiceError(f"{root} cut the connection; try again", is_passing=True) from None
        except httpx.InvalidURL as error:
            raise BadValueError(f"{self.place} is no URL of a service: {error}") from None


def _check_path(route: Route, given: Mapping[str, object]) -> None:
    """What would be another path, or none, is refused as the workspace itself refuses it."""
    for name in route.path_names:
        text = str(given[name])
        if not text or ("/" in text and "{" + name + "}" in route.path):
            check_name(text.partition(":")[0], f"{_one(route.noun)} name")
            raise InvalidNameError(f"{text!a} is no {name}")


def _one(noun: str) -> str:
    """``activity`` for ``activities``."""
    return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")


def _not_connected(root: str, error: httpx.ConnectError) -> ServiceError:
    said = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return ServiceError(
            f"the certificate of {root} is not trusted; name the file of the authority that signed"
            f" it in ${CA}"
        )
    if "SSL" in said or "TLS" in said:
        return ServiceError(f"{root} does not speak TLS; check the port, or use http://")
    if "refused" in said:
        return ServiceError(
            f"nothing listens at {root}; check that the service runs (inferry registry serve), and"
            " the port",
            was_not_sent=True,
        )
    if "Name or service" in said or "name resolution" in said or "nodename" in said:
        return ServiceError(f"there is no host of {root}; check its name and the network (DNS)")
    return ServiceError(f"{root} cannot be reached; check the network", was_not_sent=True)


def _next_token(response: Answer) -> str | None:
    """Of a service that has no pages, none: it sends all."""
    query = urlsplit(response.links.get("next", {}).get("url", "")).query
    found: str | None = httpx.QueryParams(query).get("token")
    return found


def _query(route: Route, given: Mapping[str, object]) -> httpx.QueryParams:
    return httpx.QueryParams([*query_of(route, given)])


_ROUTES: Mapping[Callable[..., Any], Route] = {route.function: route for route in TABLE.routes}
