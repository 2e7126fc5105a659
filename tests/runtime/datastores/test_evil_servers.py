"""What a server says is not believed, and what it should not hear it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import asyncssh
import pytest

from registry.datastores import Datastore as Record
from runtime.datastores import (
    DamagedError,
    Datastore,
    DatastoreError,
    RefusedError,
    StoppedError,
    UnreachableError,
    UnsafePathError,
)
from runtime.datastores.opening import open_files
from tests.runtime.datastores.evil import Answer, EvilS3, error, evil_s3, evil_sftp, listing

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datastores")]
CANARY = "CANARY-4e1b"
NAMES = ["../../etc/cron.d/x", "/etc/cron.d/x", "..", "a/../../x", "a//b", "x" * 300, "a\x7fb"]


@pytest.fixture
def evil() -> Iterator[EvilS3]:
    with evil_s3() as running:
        yield running


@pytest.fixture
def datastore(evil: EvilS3) -> Iterator[Datastore]:
    settings = {"bucket": "bucket", "endpoint": evil.endpoint, "access_key_id": "KEYID"}
    secrets = {"secret_access_key": CANARY.encode(), "session_token": b"TOKEN-" + CANARY.encode()}
    files = open_files(Record("d", "s3", settings, False, ""), secrets, Path())
    with Datastore(Record("d", "s3", settings, False, ""), files, waits_s=(0.01,)) as opened:
        yield opened


def test_credentials_do_not_follow_a_redirect(
    evil: EvilS3, datastore: Datastore, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"1")
    with evil_s3() as other:
        there = {"Location": f"{other.endpoint}/bucket"}
        for status, headers in (
            (301, there | {"x-amz-bucket-region": "evil-1"}),
            (302, there | {"x-amz-bucket-region": f"x.{other.port}/"}),
            (307, there),
        ):
            answer = error(status, "PermanentRedirect", headers)
            evil.answer = lambda method, path, answer=answer: answer  # type: ignore[misc]
            with pytest.raises(RefusedError, match="not followed") as caught:
                datastore.ls()
            assert CANARY not in str(caught.value)
        with pytest.raises(RefusedError):
            datastore.upload(tmp_path / "f")
        assert other.requests == []
    assert len(evil.requests) >= 4


def test_the_secret_key_itself_is_never_sent(evil: EvilS3, datastore: Datastore) -> None:
    datastore.ls()
    sent = str(evil.requests)
    assert "KEYID" in sent
    assert CANARY not in sent.replace(f"TOKEN-{CANARY}", "")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(403, "SignatureDoesNotMatch"), RefusedError),
        (error(403, "AccessDenied"), RefusedError),
        (error(401, "Unauthorized"), RefusedError),
        (error(503, "SlowDown"), UnreachableError),
        (error(500, "InternalError"), UnreachableError),
        (error(400, "\x1b[2J"), DatastoreError),
        ((200, {}, b"<no xml"), DatastoreError),
        ((200, {"Content-Length": "100"}, b"<Li"), DatastoreError),
        (error(418, "<script>"), DatastoreError),
    ],
)
def test_each_refusal_is_one_plain_line(
    evil: EvilS3, datastore: Datastore, answer: Answer, kind: type[DatastoreError]
) -> None:
    evil.answer = lambda method, path: answer
    with pytest.raises(kind) as caught:
        datastore.ls()
    assert str(caught.value).isprintable()
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_an_s3_listing_cannot_lead_out_of_the_folder(
    evil: EvilS3, datastore: Datastore, tmp_path: Path, name: str
) -> None:
    evil.answer = lambda method, path: listing("good", name)
    target = tmp_path / "a/b/c"
    with pytest.raises(UnsafePathError):
        datastore.download(target)
    assert list(tmp_path.rglob("*")) == []


def test_a_listing_without_end_ends(evil: EvilS3, datastore: Datastore) -> None:
    evil.answer = lambda method, path: listing("x", token="again")
    with pytest.raises(DatastoreError, match="same page"):
        datastore.ls()


def test_folders_that_other_programs_put_into_a_bucket_are_left_out(
    evil: EvilS3, datastore: Datastore
) -> None:
    evil.answer = lambda method, path: listing("a/", "a/b")
    assert [item.path for item in datastore.ls()] == ["a/b"]


@pytest.mark.parametrize(
    ("kept", "etag"),
    [("0" * 64, "x"), ("", "0" * 32), (hashlib.sha256(b"true").hexdigest(), "x")],
)
def test_bytes_that_are_not_what_the_store_says_are_not_kept(
    evil: EvilS3, datastore: Datastore, tmp_path: Path, kept: str, etag: str
) -> None:
    def answer(method: str, path: str) -> Answer:
        if "list-type" in path:
            return listing("f", size=4, etag=etag)
        return (
            200 if method == "HEAD" else 206,
            {"ETag": f'"{etag}"', "Content-Length": "4", "x-amz-meta-inferry-sha256": kept},
            b"evil",
        )

    evil.answer = answer
    with pytest.raises(DamagedError):
        datastore.download(tmp_path / "d")
    assert [path for path in (tmp_path / "d").rglob("*") if path.is_file()] == []


def test_a_download_that_breaks_off_is_tried_again_and_then_given_up(
    evil: EvilS3, datastore: Datastore, tmp_path: Path
) -> None:
    def answer(method: str, path: str) -> Answer:
        if "list-type" in path:
            return listing("f", size=100)
        return 206, {"ETag": '"x"', "Content-Length": "100"}, b"half"

    evil.answer = answer
    with pytest.raises(UnreachableError):
        datastore.download(tmp_path / "d")
    assert [path for path in (tmp_path / "d").rglob("*") if path.is_file()] == []


def test_a_server_that_does_not_answer_cannot_hold_a_transfer_that_is_stopped(
    evil: EvilS3, datastore: Datastore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.datastores.transfer.GRACE_S", 0.2)
    stop, released = Event(), Event()

    def answer(method: str, path: str) -> Answer:
        if method == "HEAD":
            return error(404, "NotFound")
        stop.set()
        released.wait(50)
        return 200, {}, b""

    evil.answer = answer
    (tmp_path / "f").write_bytes(b"1")
    try:
        with pytest.raises(StoppedError):
            datastore.upload(tmp_path / "f", stop=stop)
        assert not released.is_set()
    finally:
        released.set()


FILE = asyncssh.SFTPAttrs(permissions=0o100644, size=1, mtime=1, atime=1)
FOLDER = asyncssh.SFTPAttrs(permissions=0o40755, size=0, mtime=1, atime=1)
LINK = asyncssh.SFTPAttrs(permissions=0o120777, size=1, mtime=1, atime=1)


@pytest.mark.parametrize(
    "names",
    [
        [("good", FILE), ("../../etc/cron.d/x", FILE)],
        [("/etc/cron.d/x", FILE)],
        [("..//x", FOLDER)],
        [("a\nb", FILE)],
        [("for-ever", FOLDER)],
    ],
)
def test_an_sftp_listing_cannot_lead_out_of_the_folder(
    tmp_path: Path, names: list[tuple[str, asyncssh.SFTPAttrs]]
) -> None:
    with evil_sftp(names) as evil:
        settings = {
            "host": "127.0.0.1",
            "port": str(evil.port),
            "user": "ada",
            "host_key": evil.host_key,
        }
        record = Record("d", "sftp", settings, False, "")
        files = open_files(record, {"private_key": evil.private_key}, Path())
        with Datastore(record, files, waits_s=(0.01,)) as datastore:
            with pytest.raises(UnsafePathError):
                datastore.download(tmp_path / "a/b/c")
            assert list(tmp_path.rglob("*")) == []


def test_links_on_an_sftp_server_are_not_listed() -> None:
    with evil_sftp([("a", FILE), ("link", LINK), (".", FOLDER), ("..", FOLDER)]) as evil:
        settings = {
            "host": "127.0.0.1",
            "port": str(evil.port),
            "user": "ada",
            "host_key": evil.host_key,
        }
        record = Record("d", "sftp", settings, False, "")
        files = open_files(record, {"private_key": evil.private_key}, Path())
        with Datastore(record, files) as datastore:
            assert [item.path for item in datastore.ls()] == ["a"]
