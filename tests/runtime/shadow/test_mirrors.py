"""Mirrors as a controller keeps them: they outlive it, and are found again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.shadow import page
from runtime.shadow.counts import Counts
from runtime.shadow.mirrors import CHECK_S, HUNG_S, Mirrors
from runtime.shadow.reading import CountsError, mirror_metrics, read_counts
from tests.runtime.balance.conftest import haproxies
from tests.runtime.balance.load import wait_until
from tests.runtime.shadow.processes import can_connect, mirror, short_folder

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


def test_the_next_controller_finds_it(folder: Path) -> None:
    with mirror(folder) as first:
        before = first.pid("a")
    with mirror(folder) as second:
        assert second.pid("a") == before
    third = Mirrors(folder)  # that wants none
    third.end_others(())
    wait_until(lambda: before not in haproxies(folder))
    third.end_others(())
    assert list(folder.glob("a.*")) == []
    third.close()


def test_one_that_hangs_is_killed_and_another_comes(folder: Path) -> None:
    now_s, told = [1000.0], list[str]()
    mirrors = Mirrors(folder, told=told.append, clock=lambda: now_s[0])
    try:
        mirrors.keep({"a"})
        before = mirrors.pid("a")
        assert before is not None
        wait_until(lambda: can_connect(folder / "a.mirror.sock"))
        for _ in range(30):  # it answers, so that it is not killed
            now_s[0] += CHECK_S
            mirrors.keep({"a"})
            wait_until(lambda: answers(mirrors))
        assert mirrors.pid("a") == before
        os.kill(before, signal.SIGSTOP)
        for _ in range(int(HUNG_S / CHECK_S) + 2):
            now_s[0] += CHECK_S
            mirrors.keep({"a"})
        assert any("hangs" in line for line in told)

        def is_new() -> bool:
            mirrors.keep({"a"})
            return mirrors.pid("a") not in (before, None)

        wait_until(is_new)
        wait_until(lambda: can_connect(folder / "a.mirror.sock"))
    finally:
        mirrors.close()


def answers(mirrors: Mirrors) -> bool:
    """Whether the last check has been answered; seen at the same time of its clock."""
    mirrors.keep({"a"})
    check = mirrors._alive["a"].check
    return check is None


def test_one_that_dies_at_once_is_tried_more_and_more_seldom(folder: Path) -> None:
    (folder / "a.mirror.sock").mkdir()  # it cannot listen there
    now_s, told = [1000.0], list[str]()
    mirrors = Mirrors(folder, told=told.append, clock=lambda: now_s[0])
    try:
        for _ in range(100):
            mirrors.keep({"a"})
            pid = mirrors.pid("a")
            wait_until(lambda pid=pid: pid is None or has_ended(pid))  # type: ignore[misc]
            now_s[0] += 0.1
        # After 0, 0, 0.2, 0.5, 1, 2 and 5 seconds.
        assert 5 <= len(told) <= 7
        assert "Is a directory" in told[-1]
        assert len(set(told[1:])) == 1  # so that it is not told again and again
    finally:
        mirrors.close()


def has_ended(pid: int | None) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_stale_socket_is_no_mirror(folder: Path) -> None:
    with mirror(folder) as first:
        pid = first.pid("a")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not can_connect(folder / "a.mirror.sock"))
    with mirror(folder) as second:
        assert second.pid("a") not in (pid, None)


def test_files_of_services_without_a_mirror_go(folder: Path) -> None:
    for name in ("b.mirror.sock", "b.shadow.json", "b.shadow.lock", "other.json"):
        (folder / name).touch()
    mirrors = Mirrors(folder)
    mirrors.end_others(())
    assert [path.name for path in folder.iterdir()] == ["other.json"]


def test_counts_that_cannot_be_read_are_an_error_of_one_line(folder: Path) -> None:
    assert read_counts(folder, "a") == {}
    assert read_counts(folder / "none", "a") == {}
    for damaged in (b"", b"{", b"\xff\x00", b"[1]", b'{"r2": 1}'):
        (folder / "a.shadow.json").write_bytes(damaged)
        with pytest.raises(CountsError, match="cannot be read"):
            read_counts(folder, "a")


def test_the_metrics_are_of_all_that_have_a_mirror(folder: Path) -> None:
    assert mirror_metrics(folder) == b""
    assert mirror_metrics(folder / "none") == b""
    counts = Counts("2026-11-27T08:00:00Z")
    counts.fail("it broke")
    for name in ("a", "b"):
        (folder / f"{name}.shadow.json").write_bytes(page.encoded({"r2": counts}))
        (folder / f"{name}.shadow.sock").touch()
    (folder / "c.shadow.sock").touch()
    (folder / "c.shadow.json").write_bytes(b"damaged")
    text = mirror_metrics(folder).decode()
    for name in ("a", "b"):
        labels = f'{{deployment="{name}",shadow="r2",result="failed"}}'
        assert f"inferry_mirror_copies_total{labels} 1\n" in text
    assert 'deployment="c"' not in text
    assert text.count("# TYPE inferry_mirror_copies_total") == 1
