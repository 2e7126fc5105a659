"""Artifacts up and down over MLflow's REST, and all that must not lead anywhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message

from registry import Workspace
from runtime.mlflow_service import Limits, MlflowApp
from runtime.mlflow_service.transfers import CutError
from tests.runtime.mlflow_service.conftest import FILES, Client, RefusedError

LARGE = os.urandom(3 * 1024 * 1024 + 17)
NOBODY = "0" * 32


def _listed(client: Client, path: str) -> Any:
    return client.ask("GET", FILES, params={"path": path}).get("files", [])


@pytest.mark.parametrize("data", [b"", b"a", LARGE])
def test_bytes_come_back_as_they_went(client: Client, data: bytes) -> None:
    run = client.run()
    client.put(f"0/{run}/artifacts/out/a b-ü.bin", data)
    assert client.read(f"0/{run}/artifacts/out/a b-ü.bin") == data
    [file] = client.workspace.tracking.files.list(run)
    assert (file.path, file.size_bytes) == ("out/a b-ü.bin", len(data))
    client.put(f"0/{run}/artifacts/out/a b-ü.bin", b"new")
    assert client.read(f"0/{run}/artifacts/out/a b-ü.bin") == b"new"


def test_no_browser_shows_what_it_downloads(client: Client) -> None:
    run = client.run()
    client.put(f"0/{run}/artifacts/page.html", b"<script>alert(1)</script>")
    answer = client.send("GET", f"{FILES}/0/{run}/artifacts/page.html")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''page.html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_folder_lists_what_is_directly_in_it(client: Client) -> None:
    run = client.run()
    for path in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "sub2/d.txt"):
        client.put(f"0/{run}/artifacts/{path}", b"12345")
    file = {"is_dir": False, "file_size": 5}
    assert _listed(client, f"0/{run}/artifacts") == [
        {"path": "a.txt"} | file,
        {"path": "sub", "is_dir": True},
        {"path": "sub2", "is_dir": True},
    ]
    assert _listed(client, f"0/{run}/artifacts/sub/") == [
        {"path": "b.txt"} | file,
        {"path": "deep", "is_dir": True},
    ]
    for nothing in (f"0/{run}/artifacts/a.txt", f"0/{run}/artifacts/none", f"7/{run}/artifacts"):
        assert _listed(client, nothing) == []
    of_run = client.get("artifacts/list", run_id=run, path="sub")
    assert [each["path"] for each in of_run["files"]] == ["sub/b.txt", "sub/deep"]
    assert of_run["root_uri"] == f"mlflow-artifacts:/0/{run}/artifacts"


def test_a_file_or_folder_is_deleted(client: Client) -> None:
    run = client.run()
    for path in ("a.txt", "sub/b.txt", "sub/c.txt"):
        client.put(f"0/{run}/artifacts/{path}", b"1")
    client.ask("DELETE", f"{FILES}/0/{run}/artifacts/sub")
    assert [file.path for file in client.workspace.tracking.files.list(run)] == ["a.txt"]
    with pytest.raises(RefusedError):
        client.ask("DELETE", f"{FILES}/0/{run}/artifacts/")
    assert len(client.workspace.tracking.files.list(run)) == 1


HOSTILE = [
    "{base}/../../../etc/passwd",
    "{base}/..",
    "{base}/.",
    "{base}/a/../b",
    "{base}/..\\..\\b",
    "{base}/a\\b",
    "{base}/%2e%2e/b",
    "{base}/%2e%2e%2fb",
    "{base}/%252e%252e%252fb",
    "{base}/a;/../b",
    "{base}/a#b",
    "{base}/a%23b",
    "{base}//b",
    "{base}/C:/b",
    "{base}/C:",
    "{base}/a\x00b",
    "{base}/a%00b",
    "{base}/a\nb",
    "{base}/a\x1bb",
    "{base}/" + "n" * 4096,
    "{base}/" + "d/" * 600 + "f",
    "{base}/\uff0e\uff0e/b",
    "{base}/..\uff0fb",
    "{base}/a\u2215..\uff0fb",
    "{base}/b ",
    "{base}/b.",
    "{base}/.inferry-x",
    "{base}/.wh.b",
    "{base}/CON",
    "{base}/logged-models/m-00000000000000000000000000000000/a",
    "/etc/passwd",
    "file:///etc/passwd",
    "../{base}/b",
    "0/{run}/../{run}/artifacts/b",
    "0/{run}/b",
    "x/{run}/artifacts/b",
    "-1/{run}/artifacts/b",
    "7/{run}/artifacts/b",
    "0/models/m-../artifacts/b",
    "0/models/x/artifacts/b",
    "registered-models/../1/b",
    "registered-models/net/0/b",
    "",
    "/",
    "..",
]


def _raw(client: Client, method: str, path: str) -> tuple[int, bytes]:
    """As a server would pass it on, whatever a client's library makes of such a path."""
    sent: list[Message] = []
    scope = {
        "type": "http",
        "method": method,
        "path": f"{FILES}/{path}",
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"evil", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    client.runner.run(client.app(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_no_path_leads_out_of_a_run(client: Client, method: str, tmp_path: Path) -> None:
    run = client.run()
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for pattern in HOSTILE:
        path = pattern.format(base=f"0/{run}/artifacts", run=run)
        status, body = _raw(client, method, path)
        assert status in (400, 404), path
        assert str(tmp_path).encode() not in body
        assert b"root:" not in body
    assert client.workspace.tracking.files.list(run) == []
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in after - before if "workspace.db" not in path.name} == set()


def test_no_listing_leads_out_of_a_run(client: Client) -> None:
    run = client.run()
    for pattern in HOSTILE:
        path = pattern.format(base=f"0/{run}/artifacts", run=run)
        answer = client.send("GET", FILES, params={"path": path})
        assert answer.status_code in (200, 400), path
        assert answer.json().get("files", []) == []


def test_a_percent_sign_in_a_name_is_no_harm(client: Client) -> None:
    run = client.run()
    assert _raw(client, "PUT", f"0/{run}/artifacts/100%.txt")[0] == 200
    assert _raw(client, "GET", f"0/{run}/artifacts/100%.txt") == (200, b"evil")


def test_a_file_and_a_folder_cannot_have_one_name(client: Client) -> None:
    run = client.run()
    client.put(f"0/{run}/artifacts/a", b"1")
    for path in ("a/b", "a/b/c"):
        with pytest.raises(RefusedError, match="is a file"):
            client.put(f"0/{run}/artifacts/{path}", b"2")


def _transfer(app: MlflowApp, path: str, content: AsyncIterator[bytes] | bytes) -> int:
    async def sent() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return (await http.put(f"{FILES}/{path}", content=content)).status_code

    return asyncio.run(sent())


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(1024 * 1024)


@contextmanager
def _limited(tmp_path: Path, limits: Limits) -> Iterator[tuple[MlflowApp, Workspace, str]]:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    app = MlflowApp(workspace, limits=limits)
    yield app, workspace, workspace.tracking.runs.create(0).id
    app.close()


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (Limits(upload_bytes=1024), 413),
        (Limits(spare_bytes=2**60), 507),
        (Limits(large_uploads=0), 429),
        (Limits(small_uploads=0), 429),
    ],
)
@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_is_too_much_leaves_nothing(
    tmp_path: Path, limits: Limits, status: int, is_streamed: bool
) -> None:
    with _limited(tmp_path, limits) as (app, workspace, run):
        content = _pieces(3) if is_streamed else bytes(3 * 1024 * 1024)
        assert _transfer(app, f"0/{run}/artifacts/a", content) == status
        assert workspace.tracking.files.list(run) == []
        assert list((workspace.root / "store").rglob("uploads/*")) == []


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": bytes(2 * 1024 * 1024), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError("nobody is there")

    with _limited(tmp_path, Limits()) as (app, workspace, run):
        scope = {
            "type": "http",
            "method": "PUT",
            "path": f"{FILES}/0/{run}/artifacts/a",
            "query_string": b"",
            "headers": [],
        }
        asyncio.run(app(scope, receive, send))
        assert workspace.tracking.files.list(run) == []


def test_a_client_that_sends_nothing_more_is_given_up(tmp_path: Path) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield bytes(1024)
        await asyncio.Event().wait()
        yield b""

    with _limited(tmp_path, Limits(stall_s=0.05)) as (app, workspace, run):
        assert _transfer(app, f"0/{run}/artifacts/a", stalling()) == 400
        assert workspace.tracking.files.list(run) == []


def test_large_uploads_that_wait_hold_no_thread_of_others(tmp_path: Path) -> None:
    count = Limits().large_uploads

    async def slow(go_on: asyncio.Event) -> AsyncIterator[bytes]:
        yield bytes(2 * 1024 * 1024)
        await go_on.wait()
        yield b"end"

    async def uploads(app: MlflowApp, run: str) -> list[int]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        go_on = asyncio.Event()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test"
        ) as http:
            tasks = [
                asyncio.create_task(http.put(f"{FILES}/0/{run}/artifacts/{n}", content=slow(go_on)))
                for n in range(count)
            ]
            async with asyncio.timeout(60):
                while app._transfers._large > 0:
                    await asyncio.sleep(0)
                await asyncio.to_thread(lambda: None)  # somebody else's
            go_on.set()
            return [(await task).status_code for task in tasks]

    with _limited(tmp_path, Limits()) as (app, _, run):
        assert asyncio.run(uploads(app, run)) == [200] * count


def test_damaged_bytes_never_look_like_a_whole_file(client: Client) -> None:
    run = client.run()
    for name, data in (("large", LARGE), ("small", b"whole")):
        client.put(f"0/{run}/artifacts/{name}", data)
        digest = client.workspace.tracking.files.get(run, name).digest
        [blob] = client.workspace.root.rglob(digest.removeprefix("sha256:"))
        blob.chmod(0o600)
        blob.write_bytes(data[:-1] + b"!")
    assert client.send("GET", f"{FILES}/0/{run}/artifacts/small").status_code == 410

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{FILES}/0/{run}/artifacts/large",
        "query_string": b"",
        "headers": [],
    }
    with pytest.raises(CutError):
        client.runner.run(client.app(scope, receive, send))
    assert sum(len(each.get("body", b"")) for each in sent) < len(LARGE)
    assert sent[-1]["more_body"]


def test_a_missing_artifact_is_not_there(client: Client) -> None:
    run = client.run()
    for path in (f"0/{run}/artifacts/none", f"0/{NOBODY}/artifacts/none", f"0/{run}/artifacts"):
        with pytest.raises(RefusedError) as refused:
            client.read(path)
        assert refused.value.status == 404
