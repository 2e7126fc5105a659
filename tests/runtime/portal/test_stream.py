"""Parts of pages that the server sends when they have changed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from registry import Workspace
from registry.distribution import Distribution
from runtime.portal.answers import Part
from runtime.portal.stream import stream
from tests.runtime.portal.browser_like import Visitor, portal
from tests.runtime.portal.content import Content, running_activity


def events(look: Callable[[], Awaitable[Part | None]], closing: threading.Event) -> list[str]:
    """Their names."""

    async def collect() -> list[str]:
        found = [
            each async for each in stream(look, closing, {"/srv/hidden": "(workspace)"}, every_s=0)
        ]
        return [each.decode().split("\n")[0] for each in found]

    return asyncio.run(collect())


def looking(*parts: Part | Exception | None) -> Callable[[], Awaitable[Part | None]]:
    """One after the other; then nothing."""
    left = list(parts)

    async def look() -> Part | None:
        found = left.pop(0) if left else None
        if isinstance(found, Exception):
            raise found
        return found

    return look


GONE = Part("gone.html")


def test_a_part_is_sent_when_it_has_changed() -> None:
    found = events(looking(GONE, GONE, GONE), threading.Event())
    assert found == ["event: part", "event: over"]


def test_a_part_that_is_over_is_the_last() -> None:
    found = events(looking(Part("gone.html", {}, is_over=True), GONE), threading.Event())
    assert found == ["event: part", "event: over"]


def test_a_look_that_fails_ends_the_stream() -> None:
    assert events(looking(GONE, RuntimeError("x")), threading.Event()) == [
        "event: part",
        "event: over",
    ]


def test_a_service_that_closes_ends_its_streams() -> None:
    closing = threading.Event()
    closing.set()
    assert events(looking(GONE), closing) == []


def test_a_quiet_stream_says_that_it_is_alive() -> None:
    found = events(looking(*[GONE] * 20), threading.Event())
    assert found == ["event: part", ":", "event: over"]


def test_every_live_part_is_as_in_its_page(hostile: Content) -> None:
    app = portal(hostile.workspace.root)
    for path in hostile.live:
        if path.endswith("-live") or "/deployments/" in path or "/rollouts/" in path:
            continue  # these go on for ever
        answer = Visitor(app).get(path)
        assert answer.headers["content-type"].startswith("text/event-stream")
        name, data = answer.text.split("\n")[:2]
        assert name == "event: part"
        text = json.loads(data.removeprefix("data: "))
        page = Visitor(app).get(path.removesuffix("/live")).text
        for line in text.splitlines():
            if "<h2>" in line or "badge" in line:
                assert line.strip() in page
        assert answer.text.endswith('event: over\ndata: ""\n\n')
    app.close()


def test_a_session_that_ends_ends_its_streams(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    tokens = Distribution.open(tmp_path / "ws").tokens
    tokens.create("ada", "owner", None)
    secret = tokens.create("bob", "reader", None)
    app = portal(tmp_path / "ws")
    visitor = Visitor(app)
    visitor.sign_in(secret)
    answered: list[str] = []
    with running_activity(workspace) as id:
        asking = threading.Thread(
            target=lambda: answered.append(visitor.get(f"/activities/{id}/live").text)
        )
        asking.start()
        tokens.revoke("bob")
        asking.join(30)
    assert answered, "the stream goes on"
    assert answered[0].endswith('event: over\ndata: ""\n\n') or "Sign in first" in answered[0]
    app.close()


@pytest.mark.parametrize("path", ["/activities-live", "/deployments-live"])
def test_a_stream_is_no_page_for_nobody(tmp_path: Path, path: str) -> None:
    Workspace.init(tmp_path / "ws", base="none")
    Distribution.open(tmp_path / "ws").tokens.create("ada", "owner", None)
    app = portal(tmp_path / "ws")
    assert Visitor(app).get(path).status_code == 401
    app.close()
