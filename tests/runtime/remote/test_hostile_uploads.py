"""Uploads to /api/v1/uploads that hold, fill or collide, over real connections."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from registry.folders import write_file
from runtime.registry_service import request_body
from runtime.workspace_service.app import THREADS
from tests.runtime.deployments.waiting import eventually
from tests.runtime.remote.served import Served, serving

MOST = 100
"""Of one client, under way."""
MIB = 1024 * 1024
NAMES = (
    "Weights.bin",
    "weights.bin",
    "caf\u00e9.bin",
    "cafe\u0301.bin",
    "Folder/a.bin",
    "folder/a.bin",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving({"default": tmp_path / "ws"}) as found:
        yield found


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _url(served: Served, digest: str = "") -> str:
    return f"{served.url}/api/v1/workspaces/default/uploads/{digest}".rstrip("/")


def _put(served: Served, data: bytes, came: bytes | None = None, offset: int = 0) -> httpx.Response:
    """The file ``data``, of which ``came`` is sent."""
    return httpx.put(
        _url(served, _digest(data)),
        params={"size": len(data), "offset": offset},
        content=data[offset:] if came is None else came,
        timeout=60,
    )


def _came(served: Served, data: bytes) -> int:
    return int(httpx.get(_url(served, _digest(data))).json()["offset"])


def _begun(served: Served, data: bytes, came: bytes) -> socket.socket:
    """A connection that has sent a part of the body, and keeps silent."""
    parts = urlsplit(_url(served, _digest(data)))
    made = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=60)
    head = (
        f"PUT {parts.path}?size={len(data)} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    made.sendall(head.encode() + came)
    return made


def _answer(connection: socket.socket) -> tuple[int, str]:
    """What a raw connection is told, until it is closed."""
    text = b""
    while b"\r\n\r\n" not in text or b"}" not in text:
        more = connection.recv(65536)
        if not more:
            break
        text += more
    return int(text.split(b" ", 2)[1]), text.decode()


def test_half_sent_files_are_bounded_also_at_once_and_room_comes_back(served: Served) -> None:
    files = [b"%d of many" % number for number in range(MOST + 40)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda data: _put(served, data, data[:3]), files))
    taken = [data for data, answer in zip(files, answers, strict=True) if answer.is_success]
    refused = [answer for answer in answers if not answer.is_success]
    assert len(taken) == MOST
    assert {answer.status_code for answer in refused} == {429}
    assert f"{MOST} uploads are under way; finish them" in refused[0].json()["error"]["message"]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    late = b"one that came late"
    assert _put(served, late).status_code == 429
    assert _put(served, taken[0], offset=3).json()["is_whole"]
    assert _put(served, late).json()["is_whole"]


def test_many_silent_uploads_hold_no_thread_and_leave_nothing_locked(served: Served) -> None:
    files = [b"%d is silent" % number for number in range(2 * THREADS)]
    with ExitStack() as silent:
        for data in files:
            silent.enter_context(_begun(served, data, data[:3]))
        for _ in range(3):
            assert httpx.get(f"{served.url}/api/v1/info", timeout=30).status_code == 200
        other = b"of somebody who sends"
        assert _put(served, other).json()["is_whole"]
    for data in files[:5]:  # their connections are closed: who goes on finds what came
        came = _came(served, data)
        assert came in (0, 3)
        assert _put(served, data, offset=came).json()["is_whole"]


def test_a_body_that_stops_is_told_so_and_what_came_is_kept(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "STALL_S", 0.3)
    data = b"ten bytes!"
    with _begun(served, data, data[:4]) as connection:
        status, text = _answer(connection)
    assert status == 408
    assert "the body stopped coming, or came too slowly" in text
    assert _came(served, data) == 4
    assert _put(served, data, offset=4).json()["is_whole"]


def test_a_document_that_stops_is_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "STALL_S", 0.3)
    parts = urlsplit(served.url)
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=60) as made:
        made.sendall(
            b"POST /api/v1/workspaces/default/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        status, text = _answer(made)
    assert status == 408
    assert "Traceback" not in text


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system whose size the test changes; needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    made = tmp_path / "disk"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "inferry-test", made], check=True)
    try:
        yield made
    finally:
        # Lazily: a thread's connection to the database may end a little later.
        subprocess.run(["umount", "-l", made], check=True)


def _resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


@pytest.mark.root
def test_a_disk_that_becomes_full_in_the_middle_of_an_upload_is_said(disk: Path) -> None:
    data = (b"\xff" + os.urandom(1023)) * 8 * 1024
    with serving({"default": disk / "ws"}) as served:
        with _begun(served, data, data[: 2 * MIB]) as connection:
            eventually(lambda: _came(served, data) >= MIB)
            _resize(disk, "5m")
            connection.sendall(data[2 * MIB :])
            status, text = _answer(connection)
        assert status == 507
        assert "no space is left" in text
        assert str(disk) not in text
        full = _put(served, b"another")
        assert (full.status_code, "no room for the file" in full.text) == (507, True)
        assert httpx.get(f"{served.url}/api/v1/info").status_code == 200
        _resize(disk, "512m")
        came = _came(served, data)
        assert came == 0  # what this request brought is taken back: the disk is not left full
        assert _put(served, data, offset=came).json()["is_whole"]
        assert httpx.post(_url(served), json={"digests": [_digest(data)]}).json()


def test_names_that_differ_in_case_or_form_are_two_files(served: Served, tmp_path: Path) -> None:
    for name in NAMES:
        assert _put(served, name.encode()).is_success
    files = [{"path": name, "digest": _digest(name.encode())} for name in NAMES]
    made = httpx.post(
        f"{served.url}/api/v1/workspaces/default/models",
        json={"name": "m", "files": files},
        timeout=60,
    )
    assert made.status_code == 201, made.text
    for name in NAMES:
        path = quote(name, safe="")
        sent = httpx.get(f"{served.url}/api/v1/workspaces/default/models/m:1/files/{path}")
        assert sent.content == name.encode()
    with served.remote() as remote:
        remote.models.download("m:1", tmp_path / "here")
    assert {name: (tmp_path / "here" / name).read_bytes() for name in NAMES} == {
        name: name.encode() for name in NAMES
    }


@pytest.mark.parametrize("second", ["a", "a/b", "./a"])
def test_names_that_are_one_name_are_refused(served: Served, second: str) -> None:
    assert _put(served, b"x").is_success
    files = [{"path": path, "digest": _digest(b"x")} for path in ("a", second)]
    refused = httpx.post(
        f"{served.url}/api/v1/workspaces/default/models",
        content=json.dumps({"name": "m", "files": files}),
        headers={"Content-Type": "application/json"},
    )
    assert refused.status_code == 400
    assert "error" in refused.json()


def test_where_two_names_are_one_file_nothing_is_written_over(tmp_path: Path) -> None:
    """As on a disk that knows no case: what is written there is new, or refused."""
    write_file(tmp_path / "weights.bin", [b"first"])
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "weights.bin", [b"second"])
    assert (tmp_path / "weights.bin").read_bytes() == b"first"


def test_a_digest_that_another_workspace_has_is_none_here(tmp_path: Path) -> None:
    with serving({"default": tmp_path / "a", "other": tmp_path / "b"}) as served:
        data = b"of the other workspace"
        theirs = _url(served, _digest(data)).replace("/default/", "/other/")
        assert httpx.put(theirs, params={"size": len(data)}, content=data).json()["is_whole"]
        refused = httpx.post(
            f"{served.url}/api/v1/workspaces/default/models",
            json={"name": "m", "files": [{"path": "a", "digest": _digest(data)}]},
        )
        assert refused.status_code == 400
        assert "was not uploaded" in refused.json()["error"]["message"]
        assert httpx.post(_url(served), json={"digests": [_digest(data)]}).json() == []


def _chunked(served: Served, pieces: Iterator[bytes]) -> httpx.Response:
    """A document without a Content-Length."""
    return httpx.post(
        _url(served), content=pieces, headers={"Content-Type": "application/json"}, timeout=120
    )


def test_a_document_in_tiny_chunks_is_read(served: Served) -> None:
    text = json.dumps({"digests": [_digest(b"x")] * 100}).encode()
    answer = _chunked(served, (text[at : at + 1] for at in range(len(text))))
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_document_without_a_length_is_bounded_as_others_are(served: Served) -> None:
    answer = _chunked(served, (b" " * MIB for _ in range(18)))
    assert answer.status_code == 413
    assert "at most" in answer.json()["error"]["message"]
