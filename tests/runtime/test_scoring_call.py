"""The client of ``inferry score``, against a real server of a few lines."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlunsplit

import pytest
import trustme

from runtime.errors import BadValueError, ScoringCallError
from runtime.scoring_call import call, pinned, score_url


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = int(body) if body.isdigit() else 200
        answer = b"no\x1b[31m\ngood" if status != 200 else body
        if body == b"key?":
            answer = self.headers.get("Authorization", "none").encode()
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """The certificate of ``secure_url``, of an authority that nobody knows, with its key."""
    return certificate(tmp_path / "shown.pem", "elsewhere.example")


@pytest.fixture
def secure_url(shown: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def certificate(path: Path, name: str) -> Path:
    leaf = trustme.CA().issue_cert(name)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    path.write_bytes(chain + leaf.private_key_pem.bytes())
    return path


def post(url: str, body: bytes) -> bytes:
    return call(url, body, content_type="application/json")


def test_the_answer_comes_back_as_it_is(url: str) -> None:
    assert post(url, b'{"a": 1}') == b'{"a": 1}'


@pytest.mark.parametrize("status", [302, 400, 429, 500, 503])
def test_a_refusal_is_an_error_with_its_status_and_text(url: str, status: int) -> None:
    with pytest.raises(ScoringCallError, match=f"(?s)HTTP {status} .*good") as caught:
        post(url, str(status).encode())
    assert caught.value.status == status


def test_a_key_is_sent_where_there_is_one(url: str) -> None:
    assert post(url, b"key?") == b"none"
    sent = call(url, b"key?", content_type="text/plain", key="open sesame")
    assert sent == b"Bearer open sesame"


def test_just_the_pinned_certificate_is_trusted_whatever_its_name(
    secure_url: str, shown: Path, tmp_path: Path
) -> None:
    def ask(tls: ssl.SSLContext | None) -> bytes:
        return call(secure_url, b"x", content_type="text/plain", key="k", tls=tls)

    assert ask(pinned(shown)) == b"x"
    for tls in (None, pinned(certificate(tmp_path / "other.pem", "127.0.0.1"))):
        with pytest.raises(ScoringCallError, match="certificate verify failed"):
            ask(tls)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\xff" * 1000, b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"],
)
def test_what_is_no_certificate_cannot_be_pinned(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "c.pem").write_bytes(content)
    with pytest.raises(ScoringCallError, match=r"c\.pem"):
        pinned(tmp_path / "c.pem")


def test_a_proxy_is_not_asked_for_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert post(url, b"x") == b"x"


def test_nobody_there() -> None:
    with pytest.raises(ScoringCallError, match=r"no answer from http://127\.0\.0\.1:1/score"):
        post("http://127.0.0.1:1", b"x")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://a", "http://a/score"),
        ("http://a:1/", "http://a:1/score"),
        ("https://a/v2/models/m/infer", "https://a/v2/models/m/infer"),
        ("http://a?x=1", "http://a/score?x=1"),
    ],
)
def test_a_bare_address_means_score(given: str, used: str) -> None:
    assert urlunsplit(score_url(given)) == used


@pytest.mark.parametrize(
    "given", ["", "a", "file:///etc/passwd", "http://", "http://a:x", "http://["]
)
def test_what_is_no_web_address_is_refused(given: str) -> None:
    with pytest.raises(BadValueError):
        score_url(given)
