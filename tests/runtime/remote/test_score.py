"""``inferry score NAME`` by URL: what only the service's machine can reach is asked through it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from registry.deployments import Observed, ServiceSettings
from runtime.errors import BadValueError, ScoringCallError
from runtime.remote import deployments as remote_deployments
from runtime.workspace_service.routes import deployments as routes
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served
from tests.runtime.test_model import assert_refused


class Scorer(BaseHTTPRequestHandler):
    """Says what it was sent; ``{"status": 400}`` is answered with that."""

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = json.loads(body).get("status", 200) if body.startswith(b"{") else 200
        key, kind = self.headers.get("Authorization"), self.headers.get("Content-Type")
        told = json.dumps({"key": key, "kind": kind, "sent": len(body)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def scorer() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scorer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def web(served: Served, scorer: str, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A service with a deployment that was seen at the scorer, and one that was not seen."""
    workspace = served.local()
    file = adder(tmp_path_factory.mktemp("m") / "m.onnx")
    workspace.models.register(file, name="adder")
    workspace.images.create("adder", models=["adder"], proof=False)
    for name in ("web", "unseen", "meta"):
        service = ServiceSettings(is_keyed=name == "web")
        workspace.deployments.create(name, "adder:1", actor="ada", service=service)
    for name, url in (("web", scorer), ("meta", "http://169.254.169.254/latest")):
        change = workspace.deployments.get(name).change
        workspace.deployments.observe(
            name, Observed("running", None, url, change, (), "2026-11-27T00:00:00Z")
        )
    return served


@pytest.fixture
def there(cli: Cli, web: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line, with the service as its workspace."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("INFERRY_TOKEN", raising=False)
    monkeypatch.setenv("INFERRY_WORKSPACE", web.url)
    return cli


def test_a_deployment_on_the_services_machine_is_asked_through_it_with_its_key(
    there: Cli, web: Served, tmp_path: Path
) -> None:
    (tmp_path / "in.json").write_text("{}")
    done = there("score", "web", "-d", "in.json", "--content-type", "text/x")
    key = web.local().deployments.keys("web")["primary"]
    assert (done.code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"key": f"Bearer {key}", "kind": "text/x", "sent": 2}


def test_what_it_refuses_is_said_and_what_cannot_be_asked(there: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"status": 422}')
    assert_refused(there("score", "web", "-d", "in.json"), "HTTP 422 Unprocessable")
    assert_refused(there("score", "unseen", "-d", "in.json"), "unseen has no URL now")
    assert_refused(there("score", "nobody", "-d", "in.json"), "no deployment")
    assert_refused(there("score", "web", "-d", "in.json", "--content-type", "a\nb"), "content type")


def test_no_other_place_is_asked_and_nothing_is_without_bounds(
    web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web.remote() as remote:
        score = remote.deployments.score
        with pytest.raises(Exception, match="meta has no URL now"):
            score("meta", b"{}", content_type="a/b", timeout_s=1)
        for wrong in (0.0, -1.0, float("nan")):
            with pytest.raises(BadValueError, match="wait for up to"):
                score("web", b"{}", content_type="a/b", timeout_s=wrong)
        monkeypatch.setattr(remote_deployments, "MAX_SENT_BYTES", 3)
        with pytest.raises(BadValueError, match="at most 3"):
            score("web", b"1234", content_type="a/b", timeout_s=9)
        monkeypatch.setattr(routes, "MAX_ANSWER_BYTES", 5)
        with pytest.raises(ScoringCallError, match="more than 5 bytes"):
            score("web", b"{}", content_type="a/b", timeout_s=60)
        monkeypatch.setattr(routes, "_relays", threading.BoundedSemaphore(1))
        with routes._relays, pytest.raises(Exception, match="others are asking"):
            score("web", b"{}", content_type="a/b", timeout_s=60)


def test_a_load_test_says_where_to_run_it(
    there: Cli, web: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # locust changes threads for good where it is imported.
    monkeypatch.setattr("runtime.bench.require_locust", lambda: None)
    assert_refused(there("bench", "web"), "of the service's own machine: run inferry bench there")
