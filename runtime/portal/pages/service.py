"""Sign in, sign out, and which workspaces there are."""

from __future__ import annotations

import re

from runtime.portal.answers import Answer, Go, Page, SignedIn, SignedOut
from runtime.portal.ask import Ask
from runtime.portal.paths import UI, url
from runtime.portal.place import Place
from runtime.portal.sessions import grants_of, who_is

_OWN = re.compile(rf"{UI}/(?!/)[!-~]*")


def home(ask: Ask) -> Answer:
    """To the only workspace that they know, or to the list."""
    known = _known(ask)
    if not known:
        return Go(url("sign-in"))
    return Go(url("overview", workspace=known[0]) if len(known) == 1 else url("workspaces"))


def sign_in(ask: Ask) -> Answer:
    """The form for a token."""
    return _form(ask, "")


def do_sign_in(ask: Ask) -> Answer:
    """A token, and where to go with it."""
    secret = ask.text("token", limit=500).strip()
    grants = grants_of(ask.site, secret, ask.now_s) if secret else {}
    if not grants:
        return _form(ask, "This token opens nothing here. It may be revoked or expired, or be one"
                     " that only pulls images.", status=403)  # fmt: skip
    to = ask.text("next", limit=4000)
    if to and _is_own(to) and not to.startswith(url("sign-in")):
        return SignedIn(to, grants)
    name = next(iter(grants))
    return SignedIn(url("overview", workspace=name), grants)


def sign_out(ask: Ask) -> Answer:
    """End the session."""
    return SignedOut(f"{url('sign-in')}?note=signed-out")


def workspaces(ask: Ask) -> Answer:
    """Those that they may see."""
    known = _known(ask)
    if not known:
        return Go(url("sign-in"))
    return Page(
        "workspaces.html",
        "Workspaces",
        {"known": [(name, who_is(ask.site, name, ask.session, ask.now_s)) for name in known]},
    )


def _form(ask: Ask, complaint: str, status: int = 200) -> Page:
    to = ask.text("next", limit=4000)
    return Page(
        "sign_in.html",
        "Sign in",
        {"complaint": complaint, "next": to if _is_own(to) else ""},
        status=status,
    )


def _is_own(address: str) -> bool:
    return _OWN.fullmatch(address) is not None and "\\" not in address


def _known(ask: Ask) -> list[str]:
    return [
        name
        for name in ask.site.names
        if (who := who_is(ask.site, name, ask.session, ask.now_s)) is not None
        and who.role != "puller"
    ]


PLACES = (
    Place("GET", "home", None, home),
    Place("GET", "sign-in", None, sign_in),
    Place("POST", "sign-in.do", None, do_sign_in),
    Place("POST", "sign-out", None, sign_out),
    Place("GET", "workspaces", None, workspaces),
)
