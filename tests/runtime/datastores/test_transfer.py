"""Comparing, trying again, progress: on files in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtime.datastores.comparing import compare, kept_time
from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    DatastoreError,
    LostConnectionError,
    StoppedError,
    UnreachableError,
    UnsafePathError,
)
from runtime.datastores.patience import Patience
from runtime.datastores.port import Content, Files, Item
from runtime.datastores.sending import Pair
from runtime.datastores.transfer import OnProgress, Report, check_pairs, to_send, transfer
from tests.runtime.datastores.memory import MemoryFiles

WAITS_S = (0.0, 0.0, 0.0)


def send(
    source: MemoryFiles,
    target: Files,
    *,
    replace: bool = False,
    on_progress: OnProgress | None = None,
) -> Report:
    pairs = [Pair(item, item.path) for item in source.list("")]
    return transfer(
        source, target, pairs, replace=replace, waits_s=WAITS_S, on_progress=on_progress
    )


ONE = Item("f", 3, 1000.2, "sha256:a")


@pytest.mark.parametrize(
    ("other", "has_times", "verdict"),
    [
        (ONE, False, "same"),
        (replace(ONE, size_bytes=4), False, "other"),
        (replace(ONE, digest="sha256:b"), True, "other"),
        (replace(ONE, digest="md5:a"), False, "unknown"),
        (replace(ONE, digest="md5:a"), True, "same"),
        (replace(ONE, digest=None), False, "unknown"),
        (replace(ONE, digest=None, modified_s=1000.9), True, "same"),
        (replace(ONE, digest=None, modified_s=999.9), True, "unknown"),
        (replace(ONE, digest=None, modified_s=None), True, "unknown"),
    ],
)
def test_size_then_digest_then_time(other: Item, has_times: bool, verdict: str) -> None:
    assert compare(ONE, other, has_times=has_times) == verdict


def test_links_are_never_the_same() -> None:
    link = Item("f", -1, 1.0, None)
    assert compare(link, link, has_times=True) == "other"


def test_a_young_file_is_copied_with_a_time_that_no_later_change_has() -> None:
    assert kept_time(1000.5, 1010.0) == 1000.5
    assert kept_time(None, 1010.0) is None
    assert kept_time(1000.5, 1001.0) == 999.5
    assert kept_time(1000.5, 999.0) == 999.5  # a clock that is a little behind


def test_waits_grow_end_and_begin_anew_after_success() -> None:
    waited: list[float] = []

    def pause(wait_s: float) -> bool:
        waited.append(wait_s)
        return False

    patience = Patience(pause, (1.0, 2.0))
    for _ in range(2):
        patience.lost(LostConnectionError("x"))
    patience.went_well()
    patience.lost(LostConnectionError("x"))
    assert waited == [1.0, 2.0, 1.0]
    patience.lost(LostConnectionError("x"))
    with pytest.raises(UnreachableError, match="tried 3 times"):
        patience.lost(LostConnectionError("x"))
    with pytest.raises(StoppedError):
        Patience(lambda wait_s: True, (1.0,)).lost(LostConnectionError("x"))


def test_a_lost_download_goes_on_where_it_was() -> None:
    source = MemoryFiles({"f": bytes(range(95))}, losses={"f": 3})
    target = MemoryFiles()
    assert send(source, target).sent == ("f",)
    assert target.files == source.files
    assert source.offsets == [0, 10, 20, 30]


def test_a_lost_upload_begins_again_and_progress_tells_the_truth() -> None:
    seen: list[int] = []
    source = MemoryFiles({"f": bytes(100)})
    target = MemoryFiles(losses={"f": 2})
    send(source, target, on_progress=lambda done, total: seen.append(done))
    assert target.files == source.files
    assert (max(seen), seen[-1], seen.count(100)) == (100, 100, 3)


def test_an_upload_of_which_only_the_answer_was_lost_is_done() -> None:
    source = MemoryFiles({"f": bytes(100)})
    target = MemoryFiles(losses={"f": 1}, loses_answers=True)
    send(source, target)
    assert len(target.written) == 1


def test_who_never_answers_is_given_up() -> None:
    source = MemoryFiles({"f": bytes(100), "g": bytes(100)})
    target = MemoryFiles(losses={"f": 1000})
    with pytest.raises(UnreachableError, match="tried 4 times"):
        send(source, target)
    assert "f" not in target.files


def test_bytes_that_are_not_those_of_the_digest_are_not_kept() -> None:
    source = MemoryFiles({"f": b"evil"})
    good = Item("f", 4, None, "sha256:" + "0" * 64)
    source.listed = [good]
    target = MemoryFiles()
    with pytest.raises(DamagedError, match="bytes of its digest"):
        send(source, target)
    assert target.files == {}


@pytest.mark.parametrize("size_bytes", [3, 5])
def test_more_or_fewer_bytes_than_announced_are_not_kept(size_bytes: int) -> None:
    source = MemoryFiles({"f": b"1234"}, has_digests=False)
    source.listed = [Item("f", size_bytes)]
    target = MemoryFiles()
    with pytest.raises(DamagedError):
        send(source, target)
    assert target.files == {}


def test_a_server_that_sends_for_ever_is_not_heard_for_ever() -> None:
    class Endless(MemoryFiles):
        def read(self, item: Item, offset: int) -> Iterator[bytes]:
            while True:
                yield b"x" * 10

    source = Endless({"f": b"1234"}, has_digests=False)
    with pytest.raises(DamagedError):
        send(source, MemoryFiles())


def test_the_digest_is_known_before_where_the_target_keeps_it() -> None:
    source = MemoryFiles({"f": b"1234"}, has_digests=False)
    target = MemoryFiles(wants_digest=True)
    send(source, target)
    assert target.written[0].sha256 is not None


def test_without_digests_bytes_are_compared() -> None:
    source = MemoryFiles({"f": b"1234"}, has_digests=False)
    target = MemoryFiles({"f": b"1234"}, has_digests=False)
    assert send(source, target).kept == ("f",)
    target.files["f"] = b"4321"
    with pytest.raises(ClashError):
        send(source, target)
    assert send(source, target, replace=True).sent == ("f",)


def test_the_first_error_ends_the_transfer_and_is_the_one_that_is_raised() -> None:
    class Full(MemoryFiles):
        def write(self, content: Content, *, replace: bool) -> None:
            raise DatastoreError("no space")

    source = MemoryFiles({f"{number}": b"1" for number in range(100)})
    with pytest.raises(DatastoreError, match="no space"):
        send(source, Full())


HOSTILE = [
    "../../etc/cron.d/x",
    "/etc/cron.d/x",
    "a/../../x",
    "a\0b",
    "..",
    "a/",
    "\x1b[2J",
    "\ud800",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_name_that_leads_elsewhere_refuses_the_whole_transfer(path: str) -> None:
    source = MemoryFiles({"a-good": b"1"})
    source.listed = [*source.list(""), Item(path, 1)]
    target = MemoryFiles()
    with pytest.raises(UnsafePathError) as caught:
        send(source, target)
    assert target.files == {}
    assert str(caught.value).isprintable()


def test_a_path_cannot_be_a_file_and_a_folder() -> None:
    with pytest.raises(UnsafePathError, match="cannot hold both"):
        check_pairs([Pair(ONE, "a/b/c"), Pair(ONE, "a")])
    check_pairs([Pair(ONE, "a/b"), Pair(ONE, "ab"), Pair(ONE, "a.b")])


def test_what_is_sent_is_decided_for_all_at_once() -> None:
    pairs = [Pair(ONE, path) for path in ("new", "same", "other")]
    assert [pair.path for pair in to_send(pairs[:2], [None, "same"], replace=False)] == ["new"]
    with pytest.raises(ClashError, match="'other'"):
        to_send(pairs, [None, "same", "other"], replace=False)
    sent = to_send(pairs, [None, "same", "other"], replace=True)
    assert [pair.path for pair in sent] == ["new", "other"]
