"""The files that runs were submitted with, by URL: the same as in the folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from registry import Workspace
from registry.errors import (
    DamagedBlobError,
    InvalidSourceError,
    NotFoundError,
    RegistryError,
    TargetExistsError,
)
from registry.tracking import RunRecord
from registry.tracking.snapshot_folder import read_folder
from registry.tracking.snapshots import Snapshot, SnapshotFile, Submission
from runtime.remote import RemoteWorkspace, parse_place
from runtime.remote.client import ServiceClient
from runtime.workspace_service.routes import submissions as routes
from tests.runtime.conftest import Cli
from tests.runtime.remote.served import Served, serving

BIG = secrets.token_bytes(3_000_000)
FILES = {
    "train.py": b"print('x')\n",
    "empty": b"",
    "deep/er/still/big.bin": BIG,
    "näme with space/日本 ?#%2e&+.txt": "ü".encode(),
    "100%/..hidden": b"dots",
}


def _kept(workspace: Workspace, folder: Path, experiment: str) -> RunRecord:
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "train.py").chmod(0o755)
    run = workspace.tracking.runs.create(experiment)
    files = {file.path: file for file in read_folder(folder).files}
    workspace.tracking.snapshots.keep(run.id, files, config="{}")
    return run


@pytest.fixture(scope="module")
def run(served: Served, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Of an experiment whose name is a path."""
    return _kept(served.local(), tmp_path_factory.mktemp("code"), "a/b ü")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The command line has a workspace beside it."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteWorkspace]:
    with served.remote() as found:
        yield found


def _read(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_snapshot_comes_by_url_with_the_bytes_names_and_modes_it_has_in_the_folder(
    served: Served, run: RunRecord, cli: Cli, out: Path
) -> None:
    for name, where in (("here", str(served.local().root)), ("there", served.url)):
        for end in ("", ".zip"):
            target = str(out / f"{name}{end}")
            done = cli("run", "snapshot", "download", run.reference, target, "-w", where)
            assert done.code == 0, done.stderr
    here, there = _read(out / "here"), _read(out / "there")
    assert there == here
    assert {path: data for path, (data, _) in there.items()} == FILES
    assert (there["train.py"][1], there["empty"][1]) == (0o755, 0o644)
    assert (out / "there.zip").read_bytes() == (out / "here.zip").read_bytes()
    assert sorted(os.listdir(out)) == ["here", "here.zip", "there", "there.zip"]


def test_its_files_are_listed_and_refused_in_the_same_words(
    served: Served, run: RunRecord, remote: RemoteWorkspace, cli: Cli, out: Path
) -> None:
    other = served.local().tracking.runs.create("a/b ü")
    (out / "there.zip").write_bytes(b"mine")
    (out / "full").mkdir()
    (out / "full/mine").touch()
    ways = [
        ["files", run.reference],
        ["files", run.id, "-o", "json"],
        ["files", other.id],
        ["files", "nothing:1"],
        ["files", "../../etc:1"],
        ["download", other.id, str(out / "x")],
        ["download", "nothing:1", str(out / "x.zip")],
        ["download", run.id, str(out / "there.zip")],
        ["download", run.id, str(out / "full")],
    ]
    for way in ways:
        here, there = (
            cli("run", "snapshot", *way, "-w", where)
            for where in (str(served.local().root), served.url)
        )
        assert there == here
        assert "Traceback" not in there.stderr
    assert (out / "there.zip").read_bytes() == b"mine"
    assert sorted(os.listdir(out)) == ["full", "there.zip"]
    with pytest.raises(TargetExistsError, match="is there already"):
        remote.tracking.snapshots.download_zip(run.id, out / "there.zip")


@pytest.mark.parametrize(
    "file",
    ["nothing", "deep", "../train.py", "/etc/passwd", "deep/../train.py", "a\0b", "x" * 5000],
    ids=lambda file: ascii(file)[:20],
)
def test_what_is_no_file_of_the_snapshot_is_not_to_be_had(
    remote: RemoteWorkspace, run: RunRecord, file: str
) -> None:
    with pytest.raises(RegistryError) as refused:
        remote.client.read(routes.snapshot_file, {"ref": run.id, "file": file})
    assert isinstance(refused.value, NotFoundError), refused.value
    assert len(str(refused.value)) < 400


def test_a_file_is_sent_to_be_saved_and_never_shown(
    remote: RemoteWorkspace, run: RunRecord
) -> None:
    given = {"ref": run.id, "file": "deep/er/still/big.bin"}
    with remote.client.stream(
        routes.snapshot_file, given, headers={"Range": "bytes=10-19"}
    ) as answer:
        assert answer.status_code == 206
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert b"".join(answer.iter_raw()) == BIG[10:20]


def test_nothing_is_left_of_a_snapshot_whose_file_is_damaged(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    (tmp_path / "code").mkdir()
    with serving({"default": root}) as served, served.remote() as remote:
        run = _kept(served.local(), tmp_path / "code", "e")
        big = remote.tracking.snapshots.of_run(run.id).snapshot
        digest = next(file.digest for file in big.files if file.size_bytes == len(BIG))
        (stored,) = root.rglob(f"*{digest.removeprefix('sha256:')[2:]}")
        stored.chmod(0o644)
        stored.write_bytes(b"x" * len(BIG))
        for name in ("x", "x.zip"):
            way = remote.tracking.snapshots
            with pytest.raises(DamagedBlobError):
                (way.download_zip if name == "x.zip" else way.download)(run.id, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["code", "ws"]


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out", "a//b", "a\\b", ""])
def test_a_service_that_names_a_place_elsewhere_is_not_believed(
    tmp_path: Path, served: Served, run: RunRecord, path: str
) -> None:
    found = served.local().tracking.runs.get(run.id)
    file = SnapshotFile(path, 0, "sha256:" + "0" * 64, False)
    lie = Submission(Snapshot("sha256:" + "0" * 64, (file,)), "{}", {})

    def answer(request: httpx.Request) -> httpx.Response:
        is_last = request.url.path.endswith("/submission")
        return httpx.Response(200, content=msgspec.msgpack.encode(lie if is_last else found))

    client = ServiceClient(parse_place("https://host/team"), transport=httpx.MockTransport(answer))
    with RemoteWorkspace("https://host/team", client=client) as remote:
        for name in ("x", "x.zip"):
            way = remote.tracking.snapshots
            with pytest.raises(InvalidSourceError, match=r"no path of a file|a backslash"):
                (way.download_zip if name == "x.zip" else way.download)(run.id, tmp_path / name)
    assert os.listdir(tmp_path) == []
