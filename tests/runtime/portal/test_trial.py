"""The form that tries a deployment: it asks the deployment's own address, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from registry import Workspace
from registry.deployments import Observed, Replica, ServiceSettings
from runtime.portal.app import PortalApp
from runtime.portal.pages import trial
from runtime.portal.pages.trial import MAX_ANSWER_BYTES, sent
from tests.registry.onnx_files import adder
from tests.runtime.portal.browser_like import Visitor, portal


@dataclass(slots=True)
class Server:
    """Answers as it is told, and keeps what it was asked."""

    port: int
    status: int = 200
    body: bytes = b'{"y": [1]}'
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, bytes, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/score"


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            server.asked.append(("POST", self.path, data, self.headers["authorization"]))
            self.send_response(server.status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(server.body)))
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_address[1])
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.init(tmp_path / "ws", base="none")
    made.models.register(adder(tmp_path / "net.onnx", shape=(2, 3)), name="net")
    made.images.create("net", models=["net"])
    return made


@pytest.fixture
def app(workspace: Workspace) -> Iterator[PortalApp]:
    made = portal(workspace.root)
    yield made
    made.close()


def deploy(
    workspace: Workspace, url: str | None, *, is_keyed: bool = False, ready: bool = True
) -> None:
    service = ServiceSettings(is_keyed=is_keyed)
    workspace.deployments.create("web", "net:1", actor="ada", service=service)
    replica = Replica("web.1.a", 1, "ready" if ready else "starting", "127.0.0.1:1")
    seen = Observed("running", None, url, 1, (replica,), "2026-11-27T12:00:00Z")
    workspace.deployments.observe("web", seen)


def test_the_answer_is_shown_with_its_status_and_time(workspace: Workspace, app: PortalApp) -> None:
    with serving() as server:
        deploy(workspace, server.url, is_keyed=True)
        visitor = Visitor(app)
        assert "[[0, 0, 0], [0, 0, 0]]" in visitor.get("/deployments/web/try").text
        text = visitor.post("/deployments/web/score", {"body": '{"x": "<b>"}'}).text
        assert "200 OK" in text
        assert "&#34;y&#34;: [" in text
        assert "{&#34;x&#34;: &#34;&lt;b&gt;&#34;}" in text
        (asked,) = server.asked
        key = workspace.deployments.keys("web")["primary"]
        assert asked == ("POST", "/score", b'{"x": "<b>"}', f"Bearer {key}")
        assert key not in text


def test_an_answer_that_is_a_page_is_text(workspace: Workspace, app: PortalApp) -> None:
    with serving() as server:
        server.status, server.body = 500, b"<script>alert(1)</script>"
        deploy(workspace, server.url)
        visitor = Visitor(app)
        visitor.get("/deployments/web/try")
        text = visitor.post("/deployments/web/score", {"body": "[]"}).text
        assert "<script>alert" not in text
        assert "500 " in text


def test_a_redirect_is_not_followed() -> None:
    with serving() as server, serving() as other:
        server.status, server.headers = 302, {"location": other.url}
        assert sent(server.url, b"{}", None, None).status == 302
        assert other.asked == []


def test_a_large_answer_is_cut() -> None:
    with serving() as server:
        server.body = b"a" * (MAX_ANSWER_BYTES + 10)
        found = sent(server.url, b"{}", None, None)
        assert found.is_cut
        assert len(found.text) == MAX_ANSWER_BYTES


def test_no_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        url = server.url
    found = sent(url, b"{}", None, None)
    assert found.status is None
    assert found.text == "no answer: Connection refused"


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 100_000, "é\x00"], ids=["empty", "open", "deep", "strange"]
)
def test_what_is_no_json_is_not_sent(workspace: Workspace, app: PortalApp, body: str) -> None:
    with serving() as server:
        deploy(workspace, server.url)
        visitor = Visitor(app)
        visitor.get("/deployments/web/try")
        answer = visitor.post("/deployments/web/score", {"body": body})
        assert "This is no JSON" in answer.text
        assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [None, "http://169.254.169.254/score", "http://[fe80::1]:80/score", "http://224.0.0.1:1/"],
)
def test_no_address_or_one_that_no_deployment_has_is_not_asked(
    workspace: Workspace, app: PortalApp, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "sent", lambda *_: pytest.fail("it was asked"))
    deploy(workspace, url)
    visitor = Visitor(app)
    visitor.get("/deployments/web/try")
    assert "no address" in visitor.post("/deployments/web/score", {"body": "{}"}).text


def test_a_deployment_without_a_replica_is_not_asked(
    workspace: Workspace, app: PortalApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "sent", lambda *_: pytest.fail("it was asked"))
    deploy(workspace, "http://127.0.0.1:1/score", ready=False)
    visitor = Visitor(app)
    visitor.get("/deployments/web/try")
    text = visitor.post("/deployments/web/score", {"body": "{}", "url": "http://127.0.0.1:2/"}).text
    assert "No replica of it is ready." in text


def test_only_so_many_try_at_once(
    workspace: Workspace, app: PortalApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_room", threading.Semaphore(0))
    deploy(workspace, "http://127.0.0.1:1/score")
    visitor = Visitor(app)
    visitor.get("/deployments/web/try")
    assert visitor.post("/deployments/web/score", {"body": "{}"}).status_code == 503
