"""What every kind of datastore does, on a folder, a real sshd and a real S3 API."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from runtime.datastores import (
    ClashError,
    DamagedError,
    Datastore,
    DatastoreError,
    MissingFileError,
    StoppedError,
    UnsafePathError,
)
from runtime.datastores.port import Content

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("datastores")]
Leftovers = Callable[[], list[str]]
NAMES = ["a", "x/y/b", "x/ü name?versionId=3 #%20+&.bin", "x/ssh:h:1/..c", "x/ leading"]
MIB = 1024 * 1024
BIG = 5 * MIB + 1
"""Over what S3 gets in one request, in these tests."""


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {name: os.urandom(len(name) * 1000) for name in NAMES} | {"empty": b""}
    return make(tmp_path / "source", files)


def test_what_is_uploaded_is_listed_and_downloaded_as_it_was(
    datastore: Datastore, source: Path, tmp_path: Path, leftovers: Leftovers
) -> None:
    seen: list[tuple[int, int]] = []
    sent = datastore.upload(source, "up/here", on_progress=lambda *done: seen.append(done))
    files = read(source)
    assert set(sent.sent) == {f"up/here/{name}" for name in files}
    total = sum(map(len, files.values()))
    assert (sent.kept, sent.size_bytes, seen[-1]) == ((), total, (total, total))
    listed = {item.path: item.size_bytes for item in datastore.ls("up")}
    assert listed == {f"up/here/{name}": len(content) for name, content in files.items()}
    datastore.download(tmp_path / "new/down", prefix="up/here/x")
    assert read(tmp_path / "new/down") == {
        f"up/here/{name}": content for name, content in files.items() if name.startswith("x/")
    }
    assert leftovers() == []


def test_a_prefix_is_a_folder_or_a_file_and_not_the_beginning_of_a_name(
    datastore: Datastore, tmp_path: Path
) -> None:
    datastore.upload(make(tmp_path / "s", {"ab/1": b"1", "abc/2": b"2", "a": b"3"}))
    assert [item.path for item in datastore.ls("ab")] == ["ab/1"]
    assert [item.path for item in datastore.ls("ab/1")] == ["ab/1"]
    assert [item.path for item in datastore.ls("a")] == ["a"]
    assert sorted(item.path for item in datastore.ls("")) == ["a", "ab/1", "abc/2"]
    assert list(datastore.ls("nothing")) == []
    with pytest.raises(MissingFileError, match="nothing"):
        datastore.download(tmp_path / "down", prefix="nothing")


def test_one_file_goes_into_the_folder_that_is_named(datastore: Datastore, tmp_path: Path) -> None:
    (tmp_path / "one.bin").write_bytes(b"1")
    assert datastore.upload(tmp_path / "one.bin", "models/").sent == ("models/one.bin",)
    assert datastore.upload(tmp_path / "one.bin").sent == ("one.bin",)
    assert datastore.download(tmp_path / "d", prefix="models/one.bin").sent == ("models/one.bin",)


def test_what_is_there_already_is_not_sent_again_in_either_direction(
    datastore: Datastore, source: Path, tmp_path: Path
) -> None:
    count = len(datastore.upload(source, "up").sent)
    (source / "more").write_bytes(b"more")
    again = datastore.upload(source, "up")
    assert (again.sent, len(again.kept), again.size_bytes) == (("up/more",), count, 4)
    assert len(datastore.download(tmp_path / "down").sent) == count + 1
    assert datastore.download(tmp_path / "down").sent == ()


def test_the_same_content_with_another_time_is_the_same(
    datastore: Datastore, source: Path, tmp_path: Path
) -> None:
    datastore.upload(source)
    for path in source.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert datastore.upload(source).sent == ()
    datastore.download(tmp_path / "down")
    for path in (tmp_path / "down").rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert datastore.download(tmp_path / "down").sent == ()


def test_other_content_of_the_same_size_is_noticed_even_when_it_was_written_a_moment_later(
    datastore: Datastore, tmp_path: Path
) -> None:
    (tmp_path / "w").write_bytes(b"weights-1")
    datastore.upload(tmp_path / "w")
    (tmp_path / "w").write_bytes(b"weights-2")
    with pytest.raises(ClashError):
        datastore.upload(tmp_path / "w")
    assert datastore.upload(tmp_path / "w", overwrite=True).sent == ("w",)
    datastore.download(tmp_path / "down")
    (tmp_path / "w").write_bytes(b"weights-3")
    datastore.upload(tmp_path / "w", overwrite=True)
    with pytest.raises(ClashError):
        datastore.download(tmp_path / "down")
    assert (tmp_path / "down/w").read_bytes() == b"weights-2"


def test_other_content_is_refused_by_name_before_anything_is_sent(
    datastore: Datastore, tmp_path: Path
) -> None:
    files = {f"{number}": b"old" for number in range(8)}
    source = make(tmp_path / "s", files)
    datastore.upload(source)
    make(source, {"00-new": b"new"} | {name: b"other" for name in files})
    with pytest.raises(ClashError, match=r"'0', '1', .* and 3 more; nothing was written") as caught:
        datastore.upload(source)
    assert len(caught.value.paths) == 8
    assert "00-new" not in {item.path for item in datastore.ls()}
    with pytest.raises(ClashError):
        datastore.download(make(tmp_path / "d", {"3": b"mine"}))
    assert read(tmp_path / "d") == {"3": b"mine"}
    datastore.upload(source, overwrite=True)
    datastore.download(tmp_path / "d", overwrite=True)
    assert read(tmp_path / "d") == read(source)


def test_a_large_file_arrives_whole_and_is_known_again(
    datastore: Datastore, tmp_path: Path, leftovers: Leftovers
) -> None:
    content = os.urandom(BIG)
    make(tmp_path / "s", {"big": content})
    datastore.upload(tmp_path / "s")
    assert datastore.upload(tmp_path / "s").sent == ()
    datastore.download(tmp_path / "d")
    assert (tmp_path / "d/big").read_bytes() == content
    assert leftovers() == []


@pytest.mark.parametrize("size_bytes", [1000, BIG])
def test_a_file_that_fails_half_way_leaves_what_was_there(
    datastore: Datastore, tmp_path: Path, leftovers: Leftovers, size_bytes: int
) -> None:
    datastore.upload(make(tmp_path / "s", {"f": b"before"}))

    def chunks() -> Iterator[bytes]:
        yield os.urandom(size_bytes - 1)
        raise DamagedError("it changed under way")

    for path in ("f", "new/folder/g"):
        content = Content(path, size_bytes, chunks)
        with pytest.raises(DamagedError, match="under way"):
            datastore._files.write(content, replace=True)
    assert {item.path: item.size_bytes for item in datastore.ls()} == {"f": 6}
    assert leftovers() == []


def test_without_leave_to_replace_the_second_writer_loses(datastore: Datastore) -> None:
    datastore._files.write(Content("f", 1, lambda: iter([b"1"])), replace=False)
    with pytest.raises(ClashError):
        datastore._files.write(Content("f", 1, lambda: iter([b"2"])), replace=False)
    item = datastore._files.stat("f")
    assert item is not None
    assert b"".join(datastore._files.read(item, 0)) == b"1"


def test_a_transfer_that_is_stopped_leaves_no_half_file(
    datastore: Datastore, tmp_path: Path, leftovers: Leftovers
) -> None:
    files = {f"f{number}": os.urandom(BIG) for number in range(3)}
    source = make(tmp_path / "s", files)
    stop = Event()

    def soon(done_bytes: int, total_bytes: int) -> None:
        if done_bytes > BIG // 2:
            stop.set()

    with pytest.raises(StoppedError):
        datastore.upload(source, stop=stop, on_progress=soon)
    assert leftovers() == []
    there = list(datastore.ls())
    assert len(there) < 3
    assert all(item.size_bytes == BIG for item in there)
    datastore.upload(source)
    stop.clear()
    with pytest.raises(StoppedError):
        datastore.download(tmp_path / "d", stop=stop, on_progress=soon)
    got = read(tmp_path / "d")
    assert len(got) < 3
    assert all(files[name] == content for name, content in got.items())
    assert len(datastore.download(tmp_path / "d").kept) == len(got)
    assert read(tmp_path / "d") == files


def test_reading_goes_on_from_any_byte(datastore: Datastore, tmp_path: Path) -> None:
    content = os.urandom(9 * MIB)
    datastore.upload(make(tmp_path / "s", {"f": content}))
    item = datastore._files.stat("f")
    assert item is not None
    for offset in (0, 1, 8 * MIB, len(content) - 1, len(content)):
        assert b"".join(datastore._files.read(item, offset)) == content[offset:]


def test_a_file_that_is_replaced_while_it_is_read_is_not_taken_for_one(
    datastore: Datastore, tmp_path: Path
) -> None:
    before = os.urandom(9 * MIB)
    source = make(tmp_path / "s", {"f": before})
    datastore.upload(source)
    item = datastore._files.stat("f")
    assert item is not None
    chunks = datastore._files.read(item, 0)
    first = next(chunks)
    assert before.startswith(first)
    make(source, {"f": os.urandom(9 * MIB + 5)})
    datastore.upload(source, overwrite=True)
    try:
        rest = b"".join(chunks)
    except DamagedError:
        return
    assert first + rest == before  # of a file that was replaced, and is still open


def test_deleting_a_file_or_a_folder(datastore: Datastore, source: Path) -> None:
    datastore.upload(source)
    everything = {item.path for item in datastore.ls()}
    assert datastore.delete("a") == 1
    with pytest.raises(MissingFileError):
        datastore.delete("a")
    with pytest.raises(MissingFileError):
        datastore._files.delete("a")
    with pytest.raises(ClashError, match="--recursive"):
        datastore.delete("x")
    assert {item.path for item in datastore.ls()} == everything - {"a"}
    datastore.delete("x", recursive=True)
    assert [item.path for item in datastore.ls()] == ["empty"]
    datastore.delete("", recursive=True)
    assert list(datastore.ls()) == []


BAD = ["../x", "/etc/x", "a/../../x", "a//b", "a/./b", "a\0b", "a\nb", "x" * 256, "a/" * 600 + "b"]


def test_a_path_that_is_none_is_refused_everywhere(datastore: Datastore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    for path in BAD:
        refused_everywhere(datastore, tmp_path, path)
    assert not (tmp_path / "x").exists()
    assert list(datastore.ls()) == []


def refused_everywhere(datastore: Datastore, tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafePathError):
        datastore.upload(tmp_path / "f", path)
    with pytest.raises(UnsafePathError):
        datastore.download(tmp_path / "d", prefix=path)
    with pytest.raises(UnsafePathError):
        datastore.delete(path)
    with pytest.raises(UnsafePathError):
        datastore.path(path)
    with pytest.raises(UnsafePathError):
        datastore._files.write(Content(path, 1, lambda: iter([b"1"])), replace=True)
    with pytest.raises(UnsafePathError):
        datastore._files.stat(path)


def test_links_are_not_followed_unless_that_is_asked_for(
    datastore: Datastore, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    source = make(tmp_path / "s", {"f": b"1"})
    (source / "link").symlink_to(secret)
    with pytest.raises(UnsafePathError, match="'link' is a symbolic link"):
        datastore.upload(source)
    assert list(datastore.ls()) == []
    datastore.upload(source, follow_links=True)
    assert {item.path: item.size_bytes for item in datastore.ls()} == {"f": 1, "link": 6}


def test_what_a_link_in_the_target_points_to_stays_as_it_is(
    datastore: Datastore, tmp_path: Path
) -> None:
    datastore.upload(make(tmp_path / "s", {"sub/f": b"new", "g": b"new"}))
    outside = make(tmp_path / "outside", {"f": b"mine", "g": b"mine"})
    target = make(tmp_path / "d", {})
    target.mkdir()
    (target / "sub").symlink_to(outside)
    (target / "g").symlink_to(outside / "g")
    with pytest.raises(DatastoreError):
        datastore.download(target, overwrite=True)
    assert read(outside) == {"f": b"mine", "g": b"mine"}
    (target / "sub").unlink()
    datastore.download(target, overwrite=True)
    assert read(outside) == {"f": b"mine", "g": b"mine"}
    assert (target / "g").read_bytes() == b"new"
    assert not (target / "g").is_symlink()


def test_a_file_where_a_folder_should_be_is_an_error_and_stays(
    datastore: Datastore, tmp_path: Path
) -> None:
    datastore.upload(make(tmp_path / "s", {"a": b"file"}))
    other = make(tmp_path / "t", {"a/b": b"1"})
    if datastore.kind != "s3":  # which has no folders, and can hold both
        with pytest.raises(DatastoreError):
            datastore.upload(other, overwrite=True)
        assert {item.path: item.size_bytes for item in datastore.ls()} == {"a": 4}
        return
    datastore.upload(other)
    with pytest.raises(UnsafePathError, match="cannot hold both"):
        datastore.download(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_workspace_in_the_folder_is_not_sent(datastore: Datastore, tmp_path: Path) -> None:
    datastore.upload(make(tmp_path / "s", {"f": b"1", ".inferry/keys/secrets.key": b"key"}))
    assert [item.path for item in datastore.ls()] == ["f"]


def test_nothing_but_a_file_or_folder_is_sent(datastore: Datastore, tmp_path: Path) -> None:
    source = make(tmp_path / "s", {"f": b"1"})
    os.mkfifo(source / "pipe")
    with pytest.raises(UnsafePathError, match="'pipe' is neither"):
        datastore.upload(source)
    with pytest.raises(DatastoreError):
        datastore.upload(source / "pipe")
    with pytest.raises(MissingFileError):
        datastore.upload(tmp_path / "no-such-file")
    assert list(datastore.ls()) == []
