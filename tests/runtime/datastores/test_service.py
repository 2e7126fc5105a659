"""Datastores of a workspace behind a real service: the same verbs, of a folder, a real sshd and a
real S3 API, and what a client cannot reach through them."""

from __future__ import annotations

import hashlib
import os
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from registry import Workspace
from registry.pages import token_of
from runtime.datastores import ClashError, DamagedError, Datastore, MissingFileError
from runtime.datastores.port import CHUNK_BYTES, Content
from runtime.remote import RemoteWorkspace
from runtime.remote.datastore_files import ServiceFiles
from runtime.workspace_service import opened_datastores
from tests.runtime.datastores.conftest import Place
from tests.runtime.datastores.servers import wait_until
from tests.runtime.datastores.test_conformance import NAMES, make, read
from tests.runtime.remote.served import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datastores")]
MIB = 1024 * 1024
API = "/api/v1/workspaces/default/datastores"
Leftovers = Callable[[], list[str]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving({"default": tmp_path / "ws"}) as found:
        yield found


@pytest.fixture
def far(served: Served, place: Place) -> Iterator[RemoteWorkspace]:
    """A workspace by URL, with the datastore ``store``."""
    served.local().datastores.attach("store", place.kind, place.settings, place.secrets)
    with served.remote() as workspace:
        yield workspace


@pytest.fixture
def store(far: RemoteWorkspace) -> Iterator[Datastore]:
    with Datastore.get(far, "store") as found:  # type: ignore[arg-type]
        yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served.url}{API}", timeout=60) as client:
        yield client


def files_of(far: RemoteWorkspace, name: str = "store") -> ServiceFiles:
    found = far.datastores.open_files(far.datastores.get(name))
    assert isinstance(found, ServiceFiles)
    return found


def put(
    http: httpx.Client, path: str, data: bytes, store: str = "store", **query: object
) -> httpx.Response:
    given = {"size": str(len(data)), **{name: str(each) for name, each in query.items()}}
    return http.put(f"/{store}/files/{quote(path, safe='')}", params=given, content=data)


def test_files_go_and_come_back_by_the_same_rules_as_beside_the_workspace(
    store: Datastore, tmp_path: Path, leftovers: Leftovers
) -> None:
    files = {name: os.urandom(len(name) * 1000) for name in NAMES} | {"empty": b""}
    source = make(tmp_path / "source", files)
    seen: list[tuple[int, int]] = []
    sent = store.upload(source, "up/here", on_progress=lambda *done: seen.append(done))
    total = sum(map(len, files.values()))
    assert set(sent.sent) == {f"up/here/{name}" for name in files}
    assert (sent.size_bytes, seen[-1]) == (total, (total, total))
    again = store.upload(source, "up/here")
    assert (again.sent, len(again.kept)) == ((), len(files))
    listed = {item.path: item.size_bytes for item in store.ls("up")}
    assert listed == {f"up/here/{name}": len(data) for name, data in files.items()}
    got = store.download(tmp_path / "here", "up")
    assert got.size_bytes == total
    assert read(tmp_path / "here/up/here") == files
    assert store.download(tmp_path / "here", "up").sent == ()
    (source / "a").write_bytes(b"other")
    with pytest.raises(ClashError, match="up/here/a"):
        store.upload(source, "up/here")
    assert store.upload(source, "up/here", overwrite=True).sent == ("up/here/a",)
    with pytest.raises(ClashError, match="--recursive"):
        store.delete("up")
    assert store.delete("up", recursive=True) == len(files)
    assert store.ls() == []
    assert leftovers() == []
    with pytest.raises(MissingFileError):
        store.download(tmp_path / "here", "up")


def test_pages_give_all_once_whatever_comes_and_goes(
    store: Datastore, http: httpx.Client, tmp_path: Path
) -> None:
    names = ["a", "a.b", "a-c", "b/1", "b/2", "b/c/3", "b/c/4", "b.x", "c/d/5", "d", "z/ü", "z/y"]
    store.upload(make(tmp_path / "source", {name: b"1" for name in names}))
    order = [item.path for item in store.ls()]
    assert sorted(order) == sorted(names)
    for folder, limit in (("", 1), ("", 2), ("", 5), ("b", 1), ("b", 3)):
        found: list[str] = []
        answer = http.get("/store/files", params={"folder": folder, "limit": limit})
        while True:
            found += [item["path"] for item in answer.json()]
            if "next" not in answer.links:
                break
            assert len(answer.json()) == limit
            answer = http.get(str(httpx.URL("/store/files").join(answer.links["next"]["url"])))
        assert found == [path for path in order if not folder or path.startswith(f"{folder}/")]
    # The file that a token names has gone meanwhile.
    store.delete("b/c/3")
    rest = http.get("/store/files", params={"token": token_of("files", "b/c/3", 0)}).json()
    left = [path for path in order if path != "b/c/3"]
    assert [item["path"] for item in rest] == left[
        left.index(order[order.index("b/c/3") - 1]) + 1 :
    ]
    other = http.get("/store/files", params={"folder": "z", "token": token_of("files", "a", 0)})
    assert other.status_code == 400


def test_a_put_that_is_repeated_gives_the_same_and_another_is_refused(
    far: RemoteWorkspace, http: httpx.Client
) -> None:
    data = os.urandom(100_000)
    sha256 = hashlib.sha256(data).hexdigest()
    for given in ({}, {"sha256": sha256}, {}, {"modified_s": 1.5e9}):
        answer = put(http, "x/a", data, **given)
        assert (answer.status_code, answer.json()["size_bytes"]) == (200, len(data)), answer.text
    assert put(http, "x/a", data[::-1]).status_code == 409
    assert put(http, "x/a", b"short").status_code == 409
    assert put(http, "x", b"1").status_code in (200, 400, 409)  # only S3 has both
    assert http.get("/store/files/x/a").content == data
    assert http.get("/store/digests/x/a").json()["digest"] == f"sha256:{sha256}"
    assert put(http, "x/a", data[::-1], overwrite=True).status_code == 200
    assert http.get("/store/files/x/a").content == data[::-1]
    assert http.delete("/store/files/x/a").status_code == 204
    assert http.delete("/store/files/x/a").status_code == 404
    assert http.get("/store/files/x/a").status_code == 404


def test_what_does_not_arrive_as_announced_changes_nothing(
    far: RemoteWorkspace, http: httpx.Client, leftovers: Leftovers
) -> None:
    assert put(http, "a", b"before").status_code == 200
    lied = put(http, "a", b"after", overwrite=True, sha256="0" * 64)
    assert lied.status_code == 409, lied.text
    given = {"size": "10", "overwrite": "true"}
    for body in (b"12345", b"1" * 20):
        chunks = iter([body])
        answer = http.put("/store/files/a", params=given, content=chunks)
        assert (answer.status_code, "bytes than the size says" in answer.text) == (400, True)
    for query in ({"size": -1}, {"modified_s": "nan"}, {"modified_s": "1e300"}, {"sha256": "x"}):
        assert put(http, "a", b"12345", **query).status_code == 400, query
    assert http.get("/store/files/a").content == b"before"
    wait_until(lambda: leftovers() == [], "nothing half is there")


def test_a_put_that_is_cut_leaves_nothing_half(
    served: Served, far: RemoteWorkspace, http: httpx.Client, leftovers: Leftovers
) -> None:
    assert put(http, "a", b"before").status_code == 200
    parts = urlsplit(served.url)
    for path in ("a", "new/b"):
        with socket.create_connection((parts.hostname, parts.port)) as cut:
            head = (
                f"PUT {API}/store/files/{path}?size={20 * MIB}&overwrite=true HTTP/1.1\r\n"
                f"Host: {parts.netloc}\r\nContent-Length: {20 * MIB}\r\n\r\n"
            )
            cut.sendall(head.encode() + b"x" * 12 * MIB)
    stores = served.site.datastores
    wait_until(lambda: not any(each.users for each in stores._open.values()), "both have ended")
    wait_until(lambda: leftovers() == [], "nothing half is there")
    assert [item["path"] for item in http.get("/store/files").json()] == ["a"]
    assert http.get("/store/files/a").content == b"before"


def test_many_write_one_file_and_it_is_one_of_theirs(
    far: RemoteWorkspace, http: httpx.Client, leftovers: Leftovers
) -> None:
    contents = [bytes([number]) * (MIB + number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda data: put(http, "a", data).status_code, contents))
    if far.datastores.get("store").kind != "s3":  # moto looks and then writes
        assert sorted(codes) == [200, 409, 409, 409, 409, 409]
    assert http.get("/store/files/a").content in contents
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda data: put(http, "a", data, overwrite=True), contents)
        assert {answer.status_code for answer in answers} == {200}
    assert http.get("/store/files/a").content in contents
    assert leftovers() == []


def test_a_large_file_passes_through_little_memory(
    far: RemoteWorkspace, store: Datastore, leftovers: Leftovers
) -> None:
    """Also of the client, which is in this process."""
    files, size = files_of(far), 128 * MIB
    piece = os.urandom(MIB)
    whole = hashlib.sha256(piece * 128)

    def chunks() -> Iterator[bytes]:
        return iter([piece] * 128)

    tracemalloc.start()
    try:
        files.write(Content("large", size, chunks, sha256=whole.hexdigest()), replace=False)
        item = files.stat("large")
        assert item is not None
        found = hashlib.sha256()
        for chunk in files.read(item, 0):
            found.update(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.digest() == whole.digest()
    assert peak < 48 * MIB, peak


def test_a_get_goes_on_where_it_was_and_not_with_another_content(
    far: RemoteWorkspace, http: httpx.Client
) -> None:
    files, data = files_of(far), os.urandom(3 * CHUNK_BYTES + 5)
    files.write(Content("a", len(data), lambda: iter([data])), replace=False)
    item = files.stat("a")
    assert item is not None
    for offset in (0, 1, CHUNK_BYTES, len(data) - 1, len(data)):
        assert b"".join(files.read(item, offset)) == data[offset:]
    part = http.get("/store/files/a", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, data[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(data)}"
    assert http.get("/store/files/a", headers={"Range": "bytes=99999999-"}).status_code == 416
    head = http.head("/store/files/a")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(data)))
    [listed] = [each for each in files.list("") if each.path == "a"]
    assert b"".join(files.read(listed, 0)) == data  # its mark is the same as that of a look
    put(http, "a", data + b"1", overwrite=True)
    with pytest.raises(DamagedError):
        b"".join(files.read(item, 5))


def test_names_that_are_none_lead_nowhere(
    far: RemoteWorkspace, http: httpx.Client, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"CANARY")
    names = ["../secret", "a/../../secret", str(tmp_path / "secret"), "/etc/passwd", "a\0b", "a\nb"]
    names += ["a//b", "./a", "a/", "x" * 256, "a/" * 600 + "b", "..", ".inferry-part-0000"]
    names += ["\u202e/..", "a/.inferry-part-1", "/".join("a" * 101)]
    for name in names:
        url = "/store/{}/" + quote(name, safe="").replace(".", "%2e")
        asked = [
            http.get(url.format("files")),
            http.get(url.format("items")),
            http.get(url.format("digests")),
            http.delete(url.format("files")),
            http.put(url.format("files"), params={"size": "1"}, content=b"1"),
        ]
        for answer in asked:
            assert answer.status_code in (400, 404), (name, answer.text)
            assert "CANARY" not in answer.text
            assert str(tmp_path) not in answer.json()["error"]["message"] or name[0] == "/"
    assert http.get("/store/files").json() == []


def test_no_link_leads_out_of_a_datastore(
    far: RemoteWorkspace, http: httpx.Client, place: Place, tmp_path: Path
) -> None:
    if place.kind == "s3":
        return  # it has none
    outside, root = tmp_path / "outside", tmp_path / "store"
    make(outside, {"secret": b"CANARY"})
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    assert http.get("/store/files").json() == []
    assert http.get("/store/files", params={"folder": "folder"}).json() == []
    for name in ("file", "folder/secret"):
        for kind in ("files", "items", "digests"):
            answer = http.get(f"/store/{kind}/{name}")
            assert (answer.status_code, "CANARY" in answer.text) == (400, False), answer.text
    assert put(http, "folder/new", b"1").status_code == 400
    assert http.delete("/store/files/folder/secret").status_code == 400
    assert put(http, "file", b"12", overwrite=True).status_code == 200
    assert read(outside) == {"secret": b"CANARY"}
    assert not (root / "file").is_symlink()


def test_secrets_stay_with_the_service(
    served: Served, far: RemoteWorkspace, http: httpx.Client, place: Place
) -> None:
    for answer in (http.get("/store"), http.get("/store/files"), http.get("/store/files/none")):
        for secret in place.secrets.values():
            assert secret not in answer.content


def test_a_folder_shows_no_workspace(served: Served, http: httpx.Client, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    Workspace.init(tmp_path / "project/.inferry", base="none")
    make(tmp_path / "project", {"a": b"1", "sub/.Inferry/b": b"2"})
    local = served.local().datastores
    for name, path in {
        "above": tmp_path,
        "inside": root / "keys",
        "itself": root,
        "other": tmp_path / "project/.inferry",
    }.items():
        path.mkdir(exist_ok=True)
        local.attach(name, "file", {"path": str(path)})
    (tmp_path / "link").symlink_to(root)
    local.attach("linked", "file", {"path": str(tmp_path / "link/keys")})
    assert [item["path"] for item in http.get("/above/files").json()] == ["project/a"]
    key = next(path for path in root.rglob("*") if path.is_file()).relative_to(tmp_path)
    for hidden in (str(key), "project/.inferry/config.json", "ws/new", "project/.INFERRY/x"):
        assert http.get(f"/above/files/{hidden}").status_code == 404, hidden
        assert http.delete(f"/above/files/{hidden}").status_code == 404, hidden
        assert put(http, hidden, b"1", store="above").status_code == 404, hidden
    assert http.get("/above/files", params={"folder": "ws"}).json() == []
    for name in ("inside", "itself", "other", "linked"):
        assert http.get(f"/{name}/files").status_code == 400
        assert put(http, "x", b"1", store=name).status_code == 400
        body = {"name": "new", "kind": "file", "settings": local.get(name).settings}
        refused = httpx.post(f"{served.url}{API}", json=body)
        assert (refused.status_code, "part of a workspace" in refused.text) == (400, True)
    assert put(http, "x", b"1", store="workspace").status_code == 200  # which is in it, too
    assert (root / "datastore/x").read_bytes() == b"1"


def test_where_no_client_runs_code_none_names_a_folder(tmp_path: Path) -> None:
    with serving({"default": tmp_path / "ws"}, allows_local_code=False) as served:
        body = {"name": "new", "kind": "file", "settings": {"path": str(tmp_path)}}
        answer = httpx.post(f"{served.url}{API}", json=body)
        assert (answer.status_code, "--no-local-code" in answer.text) == (403, True)


@pytest.mark.parametrize("bound", ["OF_ONE", "OF_CLIENT", "AT_ONCE"])
def test_places_are_bounded_and_come_back(
    served: Served, http: httpx.Client, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_datastores, bound, 1)
    monkeypatch.setattr(opened_datastores, "WAIT_S", 0.1)
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port)) as slow:
        head = f"PUT {API}/workspace/files/a?size=10 HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        slow.sendall(f"{head}Content-Length: 10\r\n\r\n12345".encode())
        wait_until(lambda: http.get("/workspace/files").status_code == 503, "the place is taken")
        refused = http.get("/workspace/files")
        assert refused.headers["retry-after"] == "5"
        assert "try again" in refused.json()["error"]["message"]
        slow.sendall(b"67890")
        wait_until(lambda: http.get("/workspace/files").status_code == 200, "it is free again")
    assert http.get("/workspace/files/a").content == b"1234567890"
    for _ in range(3):  # an answer that nobody reads gives its place back
        assert http.head("/workspace/files/a").status_code == 200
        assert http.get("/workspace/files/none").status_code == 404


def test_few_stay_open_and_not_for_long(
    served: Served, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened_datastores, "MOST_OPEN", 2)
    monkeypatch.setattr(opened_datastores, "IDLE_S", 0.2)
    for name in "abcd":
        (tmp_path / name).mkdir()
        served.local().datastores.attach(name, "file", {"path": str(tmp_path / name)})
        assert put(http, "x", name.encode(), store=name).status_code == 200
        assert len(served.site.datastores._open) <= 2
    wait_until(lambda: not served.site.datastores._open, "they are closed")
    served.local().datastores.attach("a", "file", {"path": str(tmp_path / "b")}, replace=True)
    assert http.get("/a/files/x").content == b"b"
