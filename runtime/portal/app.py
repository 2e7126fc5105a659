"""The ASGI application of ``/ui``: which place, may they, its page, and the headers of all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from registry import Workspace
from registry.errors import RegistryError
from registry.kept_database import KeptDatabase
from registry.paths import WorkspacePaths
from runtime.portal import places
from runtime.portal.answers import Answer, File, Go, Page, Part, SignedIn, SignedOut
from runtime.portal.ask import Ask, Fields, fields_of
from runtime.portal.failure import failure_page
from runtime.portal.live_figures import LiveFigures
from runtime.portal.paths import UI
from runtime.portal.place import Place
from runtime.portal.sessions import LIFETIME_S, Session, Sessions, who_is
from runtime.portal.stream import stream
from runtime.portal.template import STATIC, render, static_file
from runtime.portal.whole import whole
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.door import check_browser
from runtime.registry_service.refusals import GoneError
from runtime.registry_service.request_body import RequestBody
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.roles import allows
from runtime.workspace_service.site import Site

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_QUERY_BYTES = 16 * 1024
THREADS = 16
FORM = "application/x-www-form-urlencoded"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of files that runs and models have: whatever they are, they do nothing here."""


class PortalApp:
    """Serves the workspaces of one site."""

    def __init__(self, site: Site, config: ServiceConfig) -> None:
        self._site = site
        self._config = config
        self._sessions = Sessions()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="portal")
        self._figures = LiveFigures()
        self._databases = {
            name: KeptDatabase(WorkspacePaths(site.workspace(name).root).database)
            for name in site.names
        }
        self._workspaces = {
            name: Workspace(site.workspace(name).root, database=database)
            for name, database in self._databases.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = Headers(scope=scope)
        size = headers.get("content-length", "")
        body = RequestBody(
            receive,
            size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
            is_awaited="expect" in headers,
        )
        session = Session("")
        try:
            session = self._sessions.find(_word(headers, self._cookie(scope)))
            response = await self._answer(scope, headers, body, session)
        except GoneError:
            return
        except Exception as error:
            page = failure_page(error, self._site.hidden)
            response = await self._in_thread(self._page, page, self._nobody(scope, session))
            response.headers.update(getattr(error, "headers", {}))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if session.is_new and "set-cookie" not in response.headers and session.word:
            self._set_cookie(scope, response, session.word)
        if response.status_code >= 400 and not body.is_read and not await body.drain():
            response.headers["Connection"] = "close"
        if scope["method"] == "HEAD":
            response = Response(status_code=response.status_code, headers=dict(response.headers))
        await response(scope, receive, send)

    def close(self) -> None:
        """No page is asked for any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for database in self._databases.values():
            database.close()

    async def _answer(
        self, scope: Scope, headers: Headers, body: RequestBody, session: Session
    ) -> Response:
        method, path = str(scope["method"]), str(scope["path"])
        check_browser(self._config, method, headers)
        if path in ("/", UI):
            return RedirectResponse(f"{UI}/", 307)
        if path.endswith("/") and path != f"{UI}/" and method in ("GET", "HEAD"):
            return RedirectResponse(quote(path.rstrip("/")) or f"{UI}/", 307)
        name = path.removeprefix(f"{UI}/static/")
        if name in STATIC and method in ("GET", "HEAD"):
            return _static(name)
        match = places.match(method, path)
        query = scope.get("query_string", b"")
        if len(query) > MAX_QUERY_BYTES:
            raise Fault(414, "bad_value", "the address is too long")
        form: Fields = {}
        if method == "POST":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != FORM:
                raise Fault(415, "bad_value", "this takes what its form sends")
            form = fields_of(await body.all(MAX_BODY_BYTES, "a form"))
        address = path + (f"?{query.decode('ascii', 'replace')}" if query else "")
        ask = Ask(
            site=self._site,
            workspace_name=match.workspace,
            who=None,
            session=session,
            arguments=match.arguments,
            query=fields_of(query),
            form=form,
            path=path,
            address=address,
            figures=self._figures,
            workspaces=self._workspaces,
        )
        client = str((scope.get("client") or ("-",))[0])
        response: Response | None = await self._in_thread(
            self._decide, scope, ask, match.place, client
        )
        return await self._streamed(ask, match.place) if response is None else response

    # Below: in a thread.

    def _decide(self, scope: Scope, ask: Ask, place: Place, client: str) -> Response | None:
        """None: a stream may begin."""
        known = self._known(ask)
        if place.role is not None:
            if known.who is None:
                return self._send_to_sign_in(place, known)
            if not ask.workspace_name and not place.is_of_service:
                raise Fault(404, "not_found", "there is no such page")
        if place.method == "POST":
            given = ask.text("csrf", limit=200)
            if not self._sessions.is_sealed(ask.session, given):
                raise Fault(
                    403, "forbidden", "this form is from an older session; load its page again"
                )
        if (
            place.role is not None
            and known.who is not None
            and not allows(known.who.role, place.role)
        ):
            with contextlib.suppress(RegistryError):
                self._end(known, self._begin(known, place, client), 403)
            raise Fault(
                403,
                "forbidden",
                f"{known.who.name} is a {known.who.role}; this takes a {place.role}",
            )
        if place.is_live:
            return None
        if not place.is_written_down:
            return self._made(scope, place.function(known), known)
        return self._written_down(scope, place, known, client)

    def _written_down(self, scope: Scope, place: Place, ask: Ask, client: str) -> Response:
        """The intent is on the disk before anything happens, and its end before the answer."""
        entry, status = self._begin(ask, place, client), 500
        try:
            response = self._made(scope, place.function(ask), ask)
            status = response.status_code
        except Exception as error:
            page = failure_page(error, self._site.hidden)
            status = page.status
            return self._page(page, ask)
        finally:
            self._end(ask, entry, status)
        return response

    def _known(self, ask: Ask) -> Ask:
        """With who asks: in the workspace that is asked, or, where a place is about the service,
        in the first one that knows them."""
        names = (ask.workspace_name,) if ask.workspace_name else self._site.names
        for name in names:
            who = who_is(self._site, name, ask.session, ask.now_s)
            if who is not None:
                return replace(ask, who=who)
        is_unknown = ask.workspace_name and ask.workspace_name not in self._site.names
        if is_unknown and any(
            who_is(self._site, name, ask.session, ask.now_s) for name in self._site.names
        ):
            raise Fault(404, "not_found", "there is no such workspace here")
        return ask

    def _send_to_sign_in(self, place: Place, ask: Ask) -> Response:
        if place.method == "POST" or place.is_live:
            raise Fault(401, "unauthorized", "sign in first")
        next = quote(ask.address, safe="")
        return RedirectResponse(f"{UI}/sign-in?next={next}", 303)

    def _made(self, scope: Scope, answer: Answer, ask: Ask) -> Response:
        if isinstance(answer, Page):
            return self._page(answer, ask)
        if isinstance(answer, Part):
            return Response(
                render(answer.template, answer.values, self._site.hidden), media_type="text/html"
            )
        if isinstance(answer, File):
            return _file(answer)
        address = answer.address
        if isinstance(answer, Go) and answer.note:
            address += f"{'&' if '?' in address else '?'}note={answer.note}"
        response = RedirectResponse(address, 303)
        if isinstance(answer, SignedIn):
            made = self._sessions.start(ask.session, answer.grants)
            self._set_cookie(scope, response, made.word)
        if isinstance(answer, SignedOut):
            self._sessions.end(ask.session)
            self._set_cookie(scope, response, "", max_age=0)
        return response

    def _page(self, page: Page, ask: Ask) -> Response:
        text = whole(page, ask, self._sessions.seal(ask.session))
        return Response(text, page.status, media_type="text/html")

    def _nobody(self, scope: Scope, session: Session) -> Ask:
        """For a page that says what failed: the navigation only of whom it is shown to."""
        bare = Ask(self._site, "", None, session, {}, path=str(scope["path"]))
        with contextlib.suppress(Exception):
            match = places.match("GET", str(scope["path"]))
            if match.workspace in self._site.names:
                who = who_is(self._site, match.workspace, session, bare.now_s)
                if who is not None:
                    return Ask(self._site, match.workspace, who, session, {}, path=bare.path)
        return bare

    # Below: parts.

    async def _streamed(self, ask: Ask, place: Place) -> Response:
        """Raises what the first look does: of what is not there nothing is streamed."""
        first = [await self._in_thread(self._look, ask, place)]

        async def look() -> Part | None:
            """None: they may look no more."""
            part: Part | None = (
                first.pop() if first else await self._in_thread(self._look, ask, place)
            )
            return part

        response = StreamingResponse(
            stream(look, self._site.closing, self._site.hidden), media_type="text/event-stream"
        )
        response.headers["X-Accel-Buffering"] = "no"  # a proxy passes on what there is
        return response

    def _look(self, ask: Ask, place: Place) -> Part | None:
        session = self._sessions.find(ask.session.word)
        known = self._known(replace(ask, session=session, now_s=time.time()))
        if known.who is None or place.role is None or not allows(known.who.role, place.role):
            return None
        part = place.function(known)
        assert isinstance(part, Part)
        return part

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: function(*args)
        )

    def _begin(self, ask: Ask, place: Place, client: str) -> int:
        assert ask.who is not None
        return self._site.audit(ask.workspace_name).begin(
            who=ask.who.name,
            role=ask.who.role,
            client=client,
            method=place.method,
            route=f"portal.{place.name}",
            path=ask.path,
        )

    def _end(self, ask: Ask, entry: int, status: int) -> None:
        self._site.audit(ask.workspace_name).end(entry, status)

    def _is_tls(self, scope: Scope) -> bool:
        return scope.get("scheme") == "https"

    def _cookie(self, scope: Scope) -> str:
        """Browsers keep the cookies of all ports of a machine together."""
        port = (scope.get("server") or ("", 0))[1]
        return "__Host-inferry" if self._is_tls(scope) else f"inferry-{port}"

    def _set_cookie(
        self, scope: Scope, response: Response, word: str, max_age: int = int(LIFETIME_S)
    ) -> None:
        is_tls = self._is_tls(scope)
        response.set_cookie(
            self._cookie(scope),
            word,
            max_age=max_age,
            path="/" if is_tls else UI,
            secure=is_tls,
            httponly=True,
            samesite="strict",
        )


def _word(headers: Mapping[str, str], name: str) -> str:
    jar = SimpleCookie()
    with contextlib.suppress(CookieError):
        jar.load(headers.get("cookie", "")[:8192])
    return jar[name].value if name in jar else ""


def _static(name: str) -> Response:
    data, _ = static_file(name)
    response = Response(data, media_type=STATIC[name])
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def _file(file: File) -> Response:
    response = StreamingResponse(
        file.chunks, media_type=file.media_type or "application/octet-stream"
    )
    response.headers["Content-Length"] = str(file.size_bytes)
    response.headers["Content-Disposition"] = file.disposition()
    response.headers["Content-Security-Policy"] = SANDBOX
    return response
