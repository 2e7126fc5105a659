"""Sign in and out, and how a session ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from registry.distribution.tokens import Tokens
from runtime.portal import sessions
from runtime.portal.app import PortalApp
from runtime.portal.sessions import IDLE_S, LIFETIME_S, Sessions
from tests.runtime.portal.browser_like import Visitor, portal
from tests.runtime.workspace_service.asked import ask

GRANT = {"default": ("ada", 1.0)}


@dataclass(frozen=True, slots=True)
class Field:
    app: PortalApp
    tokens: Tokens
    owner: str


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    Workspace.init(tmp_path / "ws", base="none")
    tokens = Distribution.open(tmp_path / "ws").tokens
    owner = tokens.create("ada", "owner", None)
    app = portal(tmp_path / "ws")
    yield Field(app, tokens, owner)
    app.close()


def test_a_token_opens_and_signing_out_closes(field: Field) -> None:
    visitor = Visitor(field.app)
    assert visitor.get("/models").status_code == 303
    assert visitor.sign_in(field.owner).headers["location"] == "/ui/w/default"
    assert "Sign out" in visitor.get("/models").text
    word = dict(visitor.cookies)
    assert visitor.post("/ui/sign-out").status_code == 303
    visitor.cookies = word
    assert visitor.get("/models").status_code == 303, "it is gone here, not only in the browser"


@pytest.mark.parametrize("token", ["", "x", "ify_" + "a" * 43, "é" * 40, "a\r\nb"])
def test_what_is_no_token_opens_nothing(field: Field, token: str) -> None:
    visitor = Visitor(field.app)
    answer = visitor.sign_in(token)
    assert answer.status_code == 403
    assert "opens nothing" in answer.text
    assert token not in answer.text or not token or token == "x"
    assert visitor.get("/models").status_code == 303


def test_a_revoked_token_ends_its_sessions_at_once(field: Field) -> None:
    secret = field.tokens.create("bob", "reader", None)
    visitor = Visitor(field.app)
    visitor.sign_in(secret)
    assert visitor.get("/models").status_code == 200
    field.tokens.revoke("bob")
    assert visitor.get("/models").status_code == 303
    field.tokens.create("bob", "owner", None)
    assert visitor.get("/models").status_code == 303, "another token of that name is another"


def test_a_token_that_expires_ends_its_sessions(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = field.tokens.create("bob", "reader", 3600.0)
    visitor = Visitor(field.app)
    visitor.sign_in(secret)
    assert visitor.get("/models").status_code == 200
    is_live = sessions.is_live
    monkeypatch.setattr(sessions, "is_live", lambda token, now_s: is_live(token, now_s + 3601))
    assert visitor.get("/models").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(field: Field) -> None:
    visitor = Visitor(field.app)
    visitor.get("/ui/sign-in")
    answer = visitor.post("/ui/sign-in", {"token": field.owner})
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/ui", "max-age=43200"):
        assert part in cookie
    assert field.owner not in str(answer.headers)


def test_over_tls_the_cookie_is_the_hosts(field: Field) -> None:
    import asyncio

    import httpx

    async def look() -> str:
        transport = httpx.ASGITransport(field.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://127.0.0.1") as client:
            answer = await client.get("/ui/sign-in")
        # It would be said of all ports of the machine.
        assert "strict-transport-security" not in answer.headers
        return answer.headers["set-cookie"]

    cookie = asyncio.run(look())
    assert cookie.startswith("__Host-inferry=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie


def test_signing_in_changes_the_word_of_the_session(field: Field) -> None:
    visitor = Visitor(field.app)
    visitor.get("/ui/sign-in")
    before = dict(visitor.cookies)
    visitor.sign_in(field.owner)
    assert visitor.cookies != before
    visitor.cookies = before
    assert visitor.get("/models").status_code == 303, "whoever planted the word has nothing"


def test_a_form_without_a_cookie_is_refused(field: Field) -> None:
    visitor = Visitor(field.app)
    visitor.get("/ui/sign-in")
    visitor.cookies.clear()
    assert visitor.post("/ui/sign-in", {"token": field.owner}).status_code == 403


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example/",
        "/ui//evil.example",
        "/\\evil.example",
        "/ui/\\evil",
        "/api/v1",
        "javascript:alert(1)",
        "/ui/a\r\nSet-Cookie: a=b",
        "/ui/é",
        "/ui/sign-in",
        "",
    ],
)
def test_signing_in_leads_to_the_portal_only(field: Field, to: str) -> None:
    visitor = Visitor(field.app)
    visitor.get("/ui/sign-in")
    answer = visitor.post("/ui/sign-in", {"token": field.owner, "next": to})
    assert answer.headers["location"] == "/ui/w/default"


def test_signing_in_leads_back_to_where_one_was(field: Field) -> None:
    visitor = Visitor(field.app)
    asked = visitor.get("/models?q=a&from=100")
    page = visitor.get(asked.headers["location"])
    assert 'name="next" value="/ui/w/default/models?q=a&amp;from=100"' in page.text
    answer = visitor.post(
        "/ui/sign-in", {"token": field.owner, "next": "/ui/w/default/models?q=a&from=100"}
    )
    assert answer.headers["location"] == "/ui/w/default/models?q=a&from=100"


def test_without_tokens_nobody_signs_in(tmp_path: Path) -> None:
    Workspace.init(tmp_path / "ws", base="none")
    app = portal(tmp_path / "ws")
    visitor = Visitor(app)
    assert visitor.get("/models").status_code == 200
    assert "everyone on this machine" in visitor.get("/tokens").text
    answer = visitor.post("/tokens/create", {"name": "first", "role": "owner"})
    assert answer.status_code == 200
    assert "ify_" in answer.text
    assert visitor.get("/models").status_code == 303, "from now on everybody needs one"
    app.close()


def test_another_name_for_this_machine_is_refused(field: Field) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil@127.0.0.1", ""):
        answer = ask(field.app, "GET", "/ui/sign-in", headers={"host": host})
        assert answer.status_code == 403


# Without an application.


def test_a_session_lasts_so_long_and_no_longer() -> None:
    now = [0.0]
    kept = Sessions(lambda: now[0])
    made = kept.start(kept.find(""), GRANT)
    for _ in range(int(LIFETIME_S / (IDLE_S / 2))):
        assert kept.find(made.word).grants == GRANT
        now[0] += IDLE_S / 2
    now[0] += 1
    assert kept.find(made.word).grants == {}


def test_a_session_that_is_left_alone_ends() -> None:
    now = [0.0]
    kept = Sessions(lambda: now[0])
    made = kept.start(kept.find(""), GRANT)
    now[0] = IDLE_S + 1
    assert kept.find(made.word).grants == {}


def test_sessions_are_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST", 3)
    kept = Sessions()
    made = [kept.start(kept.find(""), GRANT) for _ in range(4)]
    assert [bool(kept.find(each.word).grants) for each in made] == [False, True, True, True]


@pytest.mark.parametrize("word", ["", "a", "a" * 44, "a" * 42 + "\n", "é" * 43, "a" * 42 + ";"])
def test_a_word_that_is_none_is_replaced(word: str) -> None:
    found = Sessions().find(word)
    assert found.is_new
    assert found.word != word


def test_the_seal_of_one_session_is_not_that_of_another() -> None:
    kept = Sessions()
    one, two = (kept.start(kept.find(""), GRANT) for _ in range(2))
    old = kept.find(one.word)
    assert kept.is_sealed(old, kept.seal(one))
    assert not kept.is_sealed(old, kept.seal(two))
    assert not kept.is_sealed(old, "\ud800")
    assert not Sessions().is_sealed(old, kept.seal(one)), "of a service that began anew"
