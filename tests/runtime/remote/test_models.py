"""Models by URL."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from registry import Workspace, tree
from registry.errors import (
    DamagedBlobError,
    ImmutableError,
    InUseError,
    InvalidNameError,
    InvalidOnnxError,
    InvalidSourceError,
    NotFoundError,
    TargetExistsError,
)
from registry.models import PICKLE, Models
from registry.paths import WorkspacePaths
from runtime.remote import RemoteWorkspace
from runtime.remote.models import RemoteModels
from runtime.remote.transfers import Transfers
from runtime.workspace_service.routes import models as routes
from runtime.workspace_service.sent_file import SentFile
from tests.registry.onnx_files import adder
from tests.runtime.remote.served import DEADLINE_S, Served


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteWorkspace]:
    with served.remote() as found:
        yield found


@pytest.fixture
def local(served: Served) -> Workspace:
    return served.local()


def _api(served: Served) -> str:
    return f"{served.url}/api/v1/workspaces/default"


def test_the_methods_are_called_as_those_of_a_workspace_here() -> None:
    for name, method in inspect.getmembers(RemoteModels, inspect.isfunction):
        if not name.startswith("_"):
            ours, theirs = (
                [(each.name, each.kind, each.default) for each in found.parameters.values()]
                for found in map(inspect.signature, (method, getattr(Models, name)))
            )
            assert ours == theirs, name


def test_a_folder_is_registered_and_comes_back_bit_for_bit(
    remote: RemoteWorkspace, local: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "model"
    (source / "deep" / "er").mkdir(parents=True)
    files = {"a.bin": os.urandom(3_000_000), "deep/er/b": b"", "deep/ü.txt": b"text"}
    for path, data in files.items():
        (source / path).write_bytes(data)
    told: list[tuple[int, int]] = []
    made = remote.models.register(
        source,
        name="folder",
        tags={"k": "v"},
        properties={"p": "q"},
        description="what it is",
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert made == local.models.get("folder:1") == remote.models.get("folder")
    assert (made.tags, made.properties, made.description) == ({"k": "v"}, {"p": "q"}, "what it is")
    assert told[-1] == (3_000_004, 3_000_004)
    # What was registered here has the same digest.
    assert local.models.register(source, name="folder").digest == made.digest

    written = remote.models.download("folder:1", tmp_path / "out")
    found = {
        each.relative_to(written).as_posix(): each.read_bytes()
        for each in written.rglob("*")
        if each.is_file()
    }
    assert found == files
    with pytest.raises(TargetExistsError):
        remote.models.download("folder:1", tmp_path / "out")
    remote.models.download("folder:1", tmp_path / "out", force=True)


def test_an_onnx_file_is_checked_as_here_and_can_be_served_from_its_bundle(
    remote: RemoteWorkspace, local: Workspace, tmp_path: Path
) -> None:
    made = remote.models.register(adder(tmp_path / "m.onnx"), name="adder")
    assert made.signature is not None
    assert made.entry == "m.onnx"
    ours, theirs = (
        sorted((each.relative_to(folder), each.read_bytes()) for each in folder.rglob("*.*"))
        for folder in (
            remote.models.bundle("adder", tmp_path / "ours"),
            local.models.bundle("adder", tmp_path / "theirs"),
        )
    )
    assert ours == theirs
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(InvalidOnnxError):
        remote.models.register(tmp_path / "bad.onnx", name="bad")
    with pytest.raises(NotFoundError):
        local.models.get("bad")


def test_what_the_service_refuses_is_the_same_error_as_here(
    remote: RemoteWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(b"w")
    remote.models.register(tmp_path / "w", name="errors", properties={"p": "1"})
    remote.models.register(tmp_path / "w", name="errors")
    with pytest.raises(NotFoundError, match="there is no model nobody"):
        remote.models.get("nobody")
    with pytest.raises(InvalidNameError):
        remote.models.register(tmp_path / "w", name="no/name")
    with pytest.raises(ImmutableError):
        remote.models.add_properties("errors:1", {"p": "2"})
    with pytest.raises(NotFoundError, match="say which one"):
        remote.models.delete("errors")
    remote.aliases.set("errors", "champion", 1)
    with pytest.raises(InUseError) as refused:
        remote.models.delete("errors:1")
    assert refused.value.users == ("champion",)
    remote.aliases.remove("errors", "champion")
    assert remote.models.delete("errors:1").version == 1
    changes = remote.aliases.history("errors")
    assert [(each.version, each.who) for each in changes] == [(1, "local"), (None, "local")]


def test_tags_and_descriptions_change(
    remote: RemoteWorkspace, local: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(b"w")
    remote.models.register(tmp_path / "w", name="tagged", tags={"a": "1"})
    assert remote.models.tag("tagged", set={"b": "2"}, remove=["a"]).tags == {"b": "2"}
    assert remote.models.describe("tagged", "two\nlines").description == "two\nlines"
    assert remote.models.list(tags=["b=2"]) == local.models.list(tags=["b=2"])
    assert remote.models.list(name="tagged", latest=True)[0].name == "tagged"


def test_a_pickle_is_refused_before_it_is_sent_unless_that_is_said(
    remote: RemoteWorkspace, local: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": 1}))
    assert (
        PICKLE
        in remote.models.register(tmp_path / "m.pkl", name="pickled", allow_pickle=True).properties
    )
    with monkeypatch.context() as patched:
        patched.setattr(
            "runtime.remote.transfers.Transfers.send", lambda *_, **__: pytest.fail("it was sent")
        )
        with pytest.raises(InvalidSourceError, match="pickle"):
            remote.models.register(tmp_path / "m.pkl", name="pickled")
    # One who does not ask is refused by the service.
    sent = tuple(Transfers(remote.client).send(tree.walk(tmp_path / "m.pkl")))
    with pytest.raises(InvalidSourceError, match="pickle"):
        remote.client.ask(routes.register, name="pickled", files=sent)
    assert len(local.models.list(name="pickled")) == 1


def test_nothing_is_sent_twice(
    remote: RemoteWorkspace, local: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w").write_bytes(b"sent once" * 1000)
    remote.models.register(tmp_path / "w", name="once")
    monkeypatch.setattr(
        "runtime.remote.transfers.Transfers._put", lambda *_: pytest.fail("it was sent again")
    )
    assert remote.models.register(tmp_path / "w", name="once").version == 2


def test_a_file_that_is_damaged_there_is_mended(
    remote: RemoteWorkspace, local: Workspace, tmp_path: Path
) -> None:
    data = b"to be damaged" * 1000
    (tmp_path / "w").write_bytes(data)
    made = remote.models.register(tmp_path / "w", name="mended")
    blob = WorkspacePaths(local.root).blob(made.files[0].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * len(data))
    with pytest.raises(DamagedBlobError):
        remote.models.download("mended", tmp_path / "out")
    assert not (tmp_path / "out" / "w").exists()
    remote.models.register(tmp_path / "w", name="mended")
    remote.models.download("mended:1", tmp_path / "out")
    assert (tmp_path / "out" / "w").read_bytes() == data


def test_an_upload_that_was_cut_goes_on_where_it_was(
    served: Served, remote: RemoteWorkspace, tmp_path: Path
) -> None:
    data = os.urandom(5_000_000)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (tmp_path / "w").write_bytes(data)
    url = f"{_api(served)}/uploads/{digest}"

    def torn() -> Iterator[bytes]:
        yield data[:2_000_000]
        raise ConnectionError("the network is gone")

    with pytest.raises(ConnectionError), httpx.Client() as client:
        client.put(url, params={"size": len(data)}, content=torn())
    end = time.monotonic() + DEADLINE_S
    with httpx.Client() as client:
        while client.get(url).json()["offset"] < 2_000_000:
            assert time.monotonic() < end
    told: list[int] = []
    made = remote.models.register(
        tmp_path / "w", name="cut", on_progress=lambda done, _: told.append(done)
    )
    assert made.files[0].digest == digest
    assert b"".join(remote.models.chunks("cut", "w")[1]) == data
    assert (told[0], told[-1]) == (2_000_000, len(data))


def test_an_upload_goes_on_from_its_offset_only(served: Served) -> None:
    data = b"0123456789"
    url = f"{_api(served)}/uploads/sha256:{hashlib.sha256(data).hexdigest()}"
    put = httpx.put
    assert put(url, params={"size": 10}, content=data[:4]).json()["offset"] == 4
    assert httpx.get(url).json() == {
        "digest": url.rpartition("/")[2],
        "offset": 4,
        "is_whole": False,
    }
    assert put(url, params={"size": 10}, content=data[4:]).status_code == 416  # offset 0
    assert put(url, params={"size": 10, "offset": 4}, content=data).status_code == 400  # too many
    done = put(url, params={"size": 10, "offset": 4}, content=data[4:])
    assert done.json()["is_whole"] is True
    assert httpx.get(url).json()["is_whole"] is True


def test_bytes_of_another_digest_are_not_kept(served: Served) -> None:
    url = f"{_api(served)}/uploads/sha256:{'0' * 64}"
    refused = httpx.put(url, params={"size": 3}, content=b"abc")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "digest_invalid")
    assert httpx.get(url).json()["offset"] == 0


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a//b", "a/./b", "", "a\\b", "a\x00b", ".wh.x", "a/.wh..wh..opq/b",
     "x" * 300, "a/" * 600 + "b", "\ud800"],
)  # fmt: skip
def test_a_path_that_no_folder_has_is_refused(served: Served, path: str) -> None:
    data = b"for a bad path"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    httpx.put(f"{_api(served)}/uploads/{digest}", params={"size": len(data)}, content=data)
    body = json.dumps({"name": "evil", "files": [{"path": path, "digest": digest}]})
    refused = httpx.post(
        f"{_api(served)}/models", content=body, headers={"Content-Type": "application/json"}
    )
    assert refused.status_code == 400
    assert str(served.local().root) not in refused.text
    assert served.local().models.list(name="evil") == []


def test_two_files_of_one_path_and_a_file_that_is_a_folder_are_refused(
    served: Served, remote: RemoteWorkspace
) -> None:
    data = b"twice"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    httpx.put(f"{_api(served)}/uploads/{digest}", params={"size": len(data)}, content=data)
    for paths in (("a", "a"), ("a", "a/b")):
        files = tuple(SentFile(path, digest) for path in paths)
        with pytest.raises(InvalidSourceError):
            remote.client.ask(routes.register, name="twice", files=files)


def test_a_digest_alone_gives_nobody_a_file(served: Served, local: Workspace) -> None:
    """Who has not sent the bytes, and finds them in no model, may not name them."""
    store = WorkspacePaths(local.root)
    digest = "sha256:" + "1" * 64
    store.blob(digest).write_bytes(b"of a snapshot, or another one's upload")
    try:
        body = {"name": "stolen", "files": [{"path": "x", "digest": digest}]}
        assert httpx.post(f"{_api(served)}/models", json=body).status_code == 400
        found = httpx.post(f"{_api(served)}/uploads", json={"digests": [digest]})
        assert found.json() == []
    finally:
        store.blob(digest).unlink()


def test_a_part_of_a_file_is_answered_and_nothing_of_it_is_shown(
    served: Served, remote: RemoteWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_bytes(b"<script>alert(1)</script>")
    remote.models.register(tmp_path / "page.html", name="page")
    url = f"{_api(served)}/models/page/files/page.html"
    whole, part = httpx.get(url), httpx.get(url, headers={"Range": "bytes=1-6"})
    assert (part.status_code, part.content) == (206, b"script")
    assert part.headers["content-range"] == "bytes 1-6/25"
    for answer in (whole, part, httpx.head(url)):
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
    assert httpx.get(url, headers={"Range": "bytes=99-"}).status_code == 416
    for path in ("other", "../../workspace.db", "%2e%2e/x", "page.html/"):
        assert httpx.get(f"{_api(served)}/models/page/files/{path}").status_code == 404


def test_the_other_workspace_is_another(served: Served, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"w")
    with served.remote("team") as team, served.remote("nobody") as nobody:
        team.models.register(tmp_path / "w", name="of-team")
        assert [each.name for each in team.models.list()] == ["of-team"]
        with pytest.raises(Exception, match="no such workspace"):
            nobody.models.list()
    assert served.local("team").models.get("of-team").version == 1
    assert served.local().models.list(name="of-team") == []
