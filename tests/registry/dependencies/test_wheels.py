"""The cache of wheels, with a server that is right, wrong, slow or gone."""

from __future__ import annotations

import multiprocessing
import os
import random
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from registry.dependencies import LockedWheel, WheelCache
from registry.dependencies.lock import make_lock
from registry.errors import CancelledError, RequirementsError, StoreFullError
from tests.registry.dependencies.wheel_maker import AMD64, locked, make_wheel

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """A server on the loopback; ``answers`` by path, ``asked`` the paths that were asked for."""

    url: str
    server: ThreadingHTTPServer
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.authorizations.append(self.headers.get("Authorization"))
            found.answers.get(self.path, status(404))(self)

        def log_message(self, *arguments: object) -> None:
            pass

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Site(f"http://127.0.0.1:{server.server_port}", server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def body(data: bytes, *, length: int | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(65536))
    except OSError:
        handler.close_connection = True


def served(site: Site, folder: Path, name: str = "demo", size: int | None = None) -> LockedWheel:
    path = make_wheel(folder / "origin", name)
    site.answers[f"/{path.name}"] = body(path.read_bytes())
    return locked(path, f"{site.url}/{path.name}", size)


def remains(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_wheels_are_downloaded_once_and_in_order(site: Site, tmp_path: Path) -> None:
    wheels = [served(site, tmp_path, f"demo{number}") for number in range(9)]
    cache = WheelCache(tmp_path / "wheels")
    counts: list[int] = []
    paths = cache.fetch(wheels, counts.append)
    assert [path.name for path in paths] == [wheel.file for wheel in wheels]
    assert sum(counts) == sum(path.stat().st_size for path in paths)
    assert sorted(site.asked) == sorted(f"/{wheel.file}" for wheel in wheels)
    site.asked.clear()
    assert cache.fetch(wheels) == paths
    assert site.asked == []
    assert cache.present(make_lock(AMD64, wheels)) == tuple(paths)


def test_a_wheelhouse_gives_its_files_and_may_go_then(tmp_path: Path) -> None:
    path = make_wheel(tmp_path / "house")
    wheel = locked(path)
    cache = WheelCache(tmp_path / "wheels")
    assert cache.present(make_lock(AMD64, [wheel])) == ()
    cache.fetch([wheel])
    path.unlink()
    assert cache.fetch([wheel])[0].exists()


def test_a_damaged_file_is_fetched_again(site: Site, tmp_path: Path) -> None:
    wheel = served(site, tmp_path)
    cache = WheelCache(tmp_path / "wheels")
    (path,) = cache.fetch([wheel])
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-1] + b"x")
    assert cache.fetch([wheel]) == [path]
    assert path.read_bytes() == whole


def test_a_server_that_fails_once_is_asked_again(site: Site, tmp_path: Path) -> None:
    wheel = served(site, tmp_path)
    right = site.answers[f"/{wheel.file}"]

    def first_wrong(handler: BaseHTTPRequestHandler) -> None:
        (status(503) if len(site.asked) == 1 else right)(handler)

    site.answers[f"/{wheel.file}"] = first_wrong
    assert WheelCache(tmp_path / "wheels").fetch([wheel])
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(404), "answers 404.*--relock"),
        (status(401), "answers 401"),
        (status(500), "answers 500"),
        (body(b""), "another hash|ends after"),
        (body(b"other bytes"), "another hash|ends after"),
        (body(bytes(1_000_000)), "another hash|more bytes"),
        (body(b"short", length=1000), "fails for"),
        (endless, "more bytes"),
        (status(302, Location="file:///etc/passwd"), "not followed"),
        (status(302, Location="ftp://127.0.0.1/x"), "not followed"),
        (status(302, Location="/demo-1.0-py3-none-any.whl"), "not followed"),
    ],
)
def test_a_server_that_lies_is_refused_and_leaves_nothing(
    site: Site, tmp_path: Path, answer: Answer, said: str
) -> None:
    path = make_wheel(tmp_path / "origin")
    wheel = locked(path, f"{site.url}/{path.name}", path.stat().st_size)
    site.answers[f"/{path.name}"] = answer
    with pytest.raises(RequirementsError, match=said) as raised:
        WheelCache(tmp_path / "wheels").fetch([wheel])
    assert remains(tmp_path / "wheels") == []
    assert str(tmp_path) not in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_wrong_hash_is_refused_though_no_size_is_known(site: Site, tmp_path: Path) -> None:
    wheel = replace(served(site, tmp_path), sha256="0" * 64)
    with pytest.raises(RequirementsError, match="another hash"):
        WheelCache(tmp_path / "wheels").fetch([wheel])


@pytest.mark.parametrize("url", ["file:///etc/shadow-not-there", "file:///dev/zero", "file:///tmp"])
def test_what_is_no_file_is_not_read(tmp_path: Path, url: str) -> None:
    wheel = locked(make_wheel(tmp_path), url)
    with pytest.raises(RequirementsError, match=r"cannot read|is no file"):
        WheelCache(tmp_path / "wheels").fetch([wheel])


def test_nobody_at_the_other_end_is_said(tmp_path: Path, site: Site) -> None:
    wheel = locked(make_wheel(tmp_path), "http://127.0.0.1:9/x")
    with pytest.raises(RequirementsError, match=r"127\.0\.0\.1 fails for demo"):
        WheelCache(tmp_path / "wheels").fetch([wheel])


def test_a_cancelled_download_leaves_nothing(site: Site, tmp_path: Path) -> None:
    wheel = served(site, tmp_path)
    site.answers[f"/{wheel.file}"] = endless
    seen = []

    def cancel(count: int) -> None:
        seen.append(count)
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        WheelCache(tmp_path / "wheels").fetch([wheel], cancel)
    assert seen
    assert remains(tmp_path / "wheels") == []


def test_the_password_of_the_index_is_sent_to_its_host_only(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = served(site, tmp_path)
    host = site.url.removeprefix("http://")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://joe:secret@{host}/simple")
    WheelCache(tmp_path / "one").fetch([wheel])
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://joe:secret@127.0.0.1:9/simple")
    WheelCache(tmp_path / "two").fetch([wheel])
    assert site.authorizations == ["Basic am9lOnNlY3JldA==", None]


def test_the_certificates_of_pip_are_used(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    site.url = site.url.replace("http:", "https:")
    wheel = served(site, tmp_path)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(RequirementsError, match="CERTIFICATE_VERIFY_FAILED"):
        WheelCache(tmp_path / "refused").fetch([wheel])
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    assert WheelCache(tmp_path / "trusted").fetch([wheel])
    monkeypatch.delenv("PIP_TRUSTED_HOST")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.pem"))
    assert WheelCache(tmp_path / "known").fetch([wheel])
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "gone.pem"))
    with pytest.raises(RequirementsError, match="'cert'"):
        WheelCache(tmp_path / "gone").fetch([wheel])


def test_leftovers_of_a_killed_process_are_removed(site: Site, tmp_path: Path) -> None:
    wheel = served(site, tmp_path)
    cache = WheelCache(tmp_path / "wheels")
    folder = cache.path(wheel).parent
    folder.mkdir(parents=True)
    (folder / "tmpx.part").write_bytes(b"half")
    cache.fetch([wheel])
    assert [path.name for path in remains(tmp_path / "wheels")] == [wheel.file]


def fetch_in_process(folder: Path, wheels: list[LockedWheel]) -> None:
    for path in WheelCache(folder).fetch(wheels):
        assert path.exists()


def test_two_processes_may_fetch_at_once(site: Site, tmp_path: Path) -> None:
    wheels = [served(site, tmp_path, f"demo{number}") for number in range(6)]
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=fetch_in_process, args=(tmp_path / "wheels", wheels)) for _ in "12"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(remains(tmp_path / "wheels")) == len(wheels)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_a_full_disk_is_said_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    path = make_wheel(tmp_path, files={f"demo/{n}": random_bytes(n) for n in range(60)})
    with pytest.raises(StoreFullError):
        WheelCache(small_disk / "wheels").fetch([locked(path)])
    assert remains(small_disk / "wheels") == []


def random_bytes(seed: int) -> bytes:
    return random.Random(seed).randbytes(50_000)
