"""Clients and servers that stop half way: what was said to be there is whole, the rest goes on or
goes away."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry import Workspace
from tests.registry.store_check import blob_path, blobs
from tests.runtime.registry_service.served import (
    Served,
    code,
    image_manifest,
    push_blob,
    push_image,
    put_manifest,
    serving,
    sha256,
)

DATA = bytes(range(256)) * 8192


def _connect(served: Served) -> socket.socket:
    host, _, port = served.host.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def _begin_body(served: Served, method: str, path: str, size: int) -> socket.socket:
    """A request whose body the server waits for: it has opened the upload."""
    connection = _connect(served)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n"
    connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return connection


def _offset(client: httpx.Client, location: str) -> int:
    return int(client.get(location).headers["Range"].partition("-")[2]) + 1


def test_an_upload_goes_on_after_a_cut(served: Served, client: httpx.Client) -> None:
    location = client.post("/v2/i/cut/blobs/uploads/").headers["Location"]
    with _begin_body(served, "PATCH", location, len(DATA)) as connection:
        connection.sendall(DATA[:1_500_000])
        while _offset(client, location) < 1_000_000:  # it writes pieces of 1 MiB
            pass
    assert client.patch(location, content=b"").status_code == 202
    offset = _offset(client, location)
    assert 1_000_000 < offset <= 1_500_000
    span = {"Content-Range": f"{offset}-{len(DATA) - 1}"}
    assert client.patch(location, content=DATA[offset:], headers=span).status_code == 202
    ended = client.put(f"{location}?digest={sha256(DATA)}")
    assert ended.status_code == 201
    assert client.get(ended.headers["Location"]).content == DATA


def test_a_push_at_once_that_is_cut_leaves_nothing(
    served: Served, client: httpx.Client, workspace: Workspace
) -> None:
    before = blobs(workspace)
    path = f"/v2/i/once/blobs/uploads/?digest={sha256(DATA)}"
    uploads = workspace.root / "store/uploads"
    others = set(uploads.iterdir())
    with _begin_body(served, "POST", path, len(DATA)) as connection:
        connection.sendall(DATA[:1_500_000])
        (own,) = set(uploads.iterdir()) - others
        while own.stat().st_size < 1_000_000:
            pass
    while own.exists():
        pass
    assert blobs(workspace) == before


def test_one_of_two_requests_writes_to_an_upload(served: Served, client: httpx.Client) -> None:
    location = client.post("/v2/i/two/blobs/uploads/").headers["Location"]
    with _begin_body(served, "PATCH", location, 4) as connection:
        connection.sendall(b"ab")
        answer = client.patch(location, content=b"")
        assert (answer.status_code, code(answer)) == (409, "BLOB_UPLOAD_INVALID")
        assert client.put(f"{location}?digest={sha256(b'')}").status_code == 409
        connection.sendall(b"cd")
        assert b" 202 " in connection.recv(4096)
    assert client.put(f"{location}?digest={sha256(b'abcd')}").status_code == 201


def test_the_same_upload_is_finished_once_by_many(served: Served, client: httpx.Client) -> None:
    location = client.post("/v2/i/many/blobs/uploads/").headers["Location"]
    assert client.patch(location, content=DATA).status_code == 202
    answers: list[int] = []

    def finish() -> None:
        with served.client() as own:
            answers.append(own.put(f"{location}?digest={sha256(DATA)}").status_code)

    threads = [threading.Thread(target=finish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(201) == 1
    assert set(answers) <= {201, 404, 409}
    assert client.get(f"/v2/i/many/blobs/{sha256(DATA)}").content == DATA


def test_a_client_that_goes_away_in_a_pull_leaves_no_open_file(
    served: Served, client: httpx.Client
) -> None:
    digest = push_blob(client, "i/gone", DATA * 8)
    request = f"GET /v2/i/gone/blobs/{digest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    fds = Path(f"/proc/{served.process.pid}/fd")

    def open_blobs() -> int:
        found = 0
        for fd in fds.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += digest.removeprefix("sha256:") in os.readlink(fd)
        return found

    connections = [_connect(served) for _ in range(20)]
    for connection in connections:
        connection.sendall(request)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    while open_blobs() < 20:  # plus, for a while, the one that looks whether it is whole
        pass
    # Those who take nothing hold up nobody.
    assert client.get(f"/v2/i/gone/blobs/{digest}").content == DATA * 8
    for connection in connections:
        connection.close()
    while open_blobs():
        pass


def test_uploads_survive_a_restart_and_a_kill(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    with serving(workspace.root) as first, first.client() as client:
        location = client.post("/v2/a/blobs/uploads/").headers["Location"]
        assert client.patch(location, content=DATA[:1_000_000]).status_code == 202
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    workspace.purge()
    with serving(workspace.root) as second, second.client() as client:
        assert _offset(client, location) == 1_000_000
        client.patch(location, content=DATA[1_000_000:])
        assert second.stop() == 0
    with serving(workspace.root) as third, third.client() as client:
        ended = client.put(f"{location}?digest={sha256(DATA)}")
        assert ended.status_code == 201
        assert client.get(ended.headers["Location"]).content == DATA


def test_an_upload_that_nobody_ends_expires(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    with serving(workspace.root) as served, served.client() as client:
        location = client.post("/v2/a/blobs/uploads/").headers["Location"]
        client.patch(location, content=DATA)
        assert workspace.purge().blobs == 0
        connection = sqlite3.connect(workspace.root / "workspace.db")
        with connection:
            connection.execute("UPDATE blob_uploads SET expires_at = 0")
        connection.close()
        wanted = workspace.purge(dry_run=True)
        assert (wanted.blobs, wanted.size_bytes) == (1, len(DATA))
        assert workspace.purge() == wanted
        assert client.get(location).status_code == 404
        assert client.patch(location, content=b"x").status_code == 404
    assert list((workspace.root / "store/uploads").iterdir()) == []


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_only_complete_manifests(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    answered: list[tuple[str, str]] = []
    for number in range(6):
        with serving(workspace.root) as served:
            timer = threading.Timer(0.02 + 0.05 * number, served.process.kill)
            timer.start()
            with served.client() as client:
                for turn in range(1000):
                    try:
                        layers = [os.urandom(100_000), b"the same"]
                        digest = push_image(client, "a", f"t{number}.{turn}", layers)
                    except httpx.TransportError:
                        break
                    answered.append((f"t{number}.{turn}", digest))
            timer.join()
    workspace.purge()
    with serving(workspace.root) as served, served.client() as client:
        tags = client.get("/v2/a/tags/list").json().get("tags", [])
        assert {tag for tag, _ in answered} <= set(tags)
        for tag in tags:
            document = client.get(f"/v2/a/manifests/{tag}").json()
            for item in (document["config"], *document["layers"]):
                data = blob_path(workspace, item["digest"]).read_bytes()
                assert (sha256(data), len(data)) == (item["digest"], item["size"])


def test_sigterm_finishes_what_is_under_way(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    with serving(workspace.root) as served, served.client() as client:
        location = client.post("/v2/a/blobs/uploads/").headers["Location"]
        with _begin_body(served, "PATCH", location, 4) as connection, _connect(served) as idle:
            connection.sendall(b"ab")
            served.process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # idle connections end at once
            connection.sendall(b"cd")
            assert b" 202 " in connection.recv(4096)
        assert served.process.wait(timeout=60) == 0


@pytest.mark.slow
def test_sigterm_does_not_wait_for_ever(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    with serving(workspace.root) as served, served.client() as client:
        digest = push_blob(client, "a", DATA * 8)
        with _connect(served) as connection:
            request = f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            connection.sendall(request.encode())
            assert connection.recv(100)
            began = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(timeout=60) == 0
            assert time.monotonic() - began < 45


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB; needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    assert os.system(f"mount -t tmpfs -o size=8m tmpfs {folder}") == 0
    try:
        yield folder
    finally:
        assert os.system(f"umount {folder}") == 0


@pytest.mark.root
def test_a_full_disk_is_said_and_what_did_not_fit_is_gone(small_disk: Path) -> None:
    workspace = Workspace.init(small_disk / "ws", base="none")
    with serving(workspace.root) as served, served.client() as client:
        kept = push_image(client, "a", "1", [b"small"])
        location = client.post("/v2/a/blobs/uploads/").headers["Location"]
        assert client.patch(location, content=b"x" * 100).status_code == 202
        answer = client.patch(location, content=b"y" * 9_000_000)
        assert (answer.status_code, "no space" in answer.text) == (507, True)
        assert client.get(location).headers["Range"] == "0-99"
        large = b"z" * 9_000_000
        answer = client.post(f"/v2/a/blobs/uploads/?digest={sha256(large)}", content=large)
        assert answer.status_code == 507
        assert client.get(f"/v2/a/manifests/{kept}").status_code == 200
        uploads = list((workspace.root / "store/uploads").iterdir())
        assert [upload.stat().st_size for upload in uploads] == [100]
        ended = client.put(f"{location}?digest={sha256(b'x' * 100 + b'y')}", content=b"y")
        assert ended.status_code == 201


def test_a_manifest_waits_for_no_blob_that_was_purged(
    client: httpx.Client, workspace: Workspace
) -> None:
    """As when the lease ran out between the push of the blob and that of its manifest."""
    push_blob(client, "i/late", b"{}")
    digest = push_blob(client, "i/late", b"came early")
    with workspace._database.write() as connection:
        connection.execute("UPDATE held_blobs SET expires_at = 0 WHERE digest = ?", (digest,))
    workspace.purge()
    answer = put_manifest(client, "i/late", "1", image_manifest(b"{}", [b"came early"]))
    assert (answer.status_code, code(answer)) == (400, "MANIFEST_BLOB_UNKNOWN")
    push_blob(client, "i/late", b"came early")
    answer = put_manifest(client, "i/late", "1", image_manifest(b"{}", [b"came early"]))
    assert answer.status_code == 201


def test_a_pull_of_an_image_that_is_deleted_meanwhile_is_completed(
    client: httpx.Client, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "m.bin").write_bytes(b"only here")
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(tmp_path / "m.bin", name="other")
    workspace.images.create("gone", models=["other"], script=tmp_path / "score.py")
    head = client.head("/v2/gone/manifests/latest")
    workspace.images.delete("gone:1")
    workspace.purge()
    assert client.get("/v2/gone/manifests/latest").status_code == 404
    digest = head.headers["Docker-Content-Digest"]
    document = client.get(f"/v2/gone/manifests/{digest}").json()
    for item in (document["config"], *document["layers"]):
        assert sha256(client.get(f"/v2/gone/blobs/{item['digest']}").content) == item["digest"]
