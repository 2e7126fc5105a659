"""One place of each kind: a folder, a folder on a real sshd, a bucket of a real moto server."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry.datastores import Datastore as Record
from registry.datastores import Kind
from runtime.datastores import Datastore
from runtime.datastores.opening import open_files
from tests.runtime.datastores.servers import Moto, Sshd, running_moto, running_sshd


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with running_moto(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As small as S3 allows."""
    monkeypatch.setattr("runtime.datastores.s3.PART_BYTES", 5 * 1024 * 1024)
    monkeypatch.setattr("runtime.datastores.s3.READ_BYTES", 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Place:
    """What to attach, and as what. ``make``: the folder or bucket that it needs."""

    kind: Kind
    settings: dict[str, str]
    secrets: dict[str, bytes] = field(default_factory=dict)


def file_place(tmp_path: Path) -> Place:
    (tmp_path / "store").mkdir()
    return Place("file", {"path": str(tmp_path / "store")})


def sftp_place(tmp_path: Path, sshd: Sshd) -> Place:
    (tmp_path / "store").mkdir()
    settings = {
        "host": "127.0.0.1",
        "port": str(sshd.port),
        "user": sshd.user,
        "path": str(tmp_path / "store"),
        "host_key": sshd.host_key,
    }
    return Place("sftp", settings, {"private_key": sshd.private_key})


def s3_place(moto: Moto) -> Place:
    bucket = f"b-{os.urandom(6).hex()}"
    moto.make(bucket)
    settings = {
        "bucket": bucket,
        "endpoint": moto.endpoint,
        "access_key_id": "key",
        "prefix": "in/here",
    }
    return Place("s3", settings, {"secret_access_key": b"CANARY-of-s3"})


@pytest.fixture(params=["file", "sftp", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "file":
            return file_place(tmp_path)
        case "sftp":
            return sftp_place(tmp_path, request.getfixturevalue("sshd"))
        case _:
            return s3_place(request.getfixturevalue("moto"))


@pytest.fixture
def datastore(place: Place, tmp_path: Path) -> Iterator[Datastore]:
    """It, and nothing in it."""
    record = Record("store", place.kind, place.settings, False, "")
    files = open_files(record, place.secrets, tmp_path)
    with Datastore(record, files, waits_s=(0.05, 0.1)) as opened:
        yield opened


@pytest.fixture
def leftovers(place: Place, tmp_path: Path) -> Callable[[], list[str]]:
    """What lies at the place besides whole files."""

    def look() -> list[str]:
        if place.kind != "s3":
            return [
                path.name for path in (tmp_path / "store").rglob("*") if ".inferry" in path.name
            ]
        url = f"{place.settings['endpoint']}/{place.settings['bucket']}?uploads"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return ["upload"] * answer.read().decode().count("<UploadId>")

    return look
