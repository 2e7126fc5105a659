"""A device that begins with a disk without a free byte: what ran before runs."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edge.agent import assembly
from edge.agent.agent import Agent
from edge.agent.ballast import SIZE_BYTES, Ballast
from edge.agent.state import AgentState, StateLock
from edge.messages.desired import Desired, Module
from edge.switch.record import Record, Records
from tests.edge.agent.devices import make_device

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
DESIRED = Desired(1, "a", 3, (Module("digits", "digits:1", f"sha256:{1:064x}"),))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def fill(disk: Path) -> None:
    with (disk / "others").open("ab", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


@pytest.mark.root
@is_root
def test_an_agent_begins_on_a_full_disk_again_and_again(small_disk: Path) -> None:
    with closing(AgentState(small_disk)) as state:
        first = state.begin_epoch(5)
        state.keep_desired(DESIRED)
        with closing(Records(small_disk / "state.db")) as records:
            records.put("digits", Record())
    for number in range(1, 6):
        fill(small_disk)
        with StateLock(small_disk), closing(AgentState(small_disk)) as state:
            assert state.begin_epoch(5) == first + number
            assert state.desired() == DESIRED
            with closing(Records(small_disk / "state.db")) as records:
                records.put("digits", Record("pulling"))
                assert records.names() == {"digits"}


@pytest.mark.root
@is_root
def test_an_agent_begins_without_a_byte_for_it_when_it_must(small_disk: Path) -> None:
    """Its number is not kept then, and grows with the clock."""
    large = Desired(1, "a", 4, (Module("digits", "digits:1", "x" * 100_000),))
    with closing(AgentState(small_disk)) as state:
        assert state.begin_epoch(5) == 5
        state.keep_desired(DESIRED)
        fill(small_disk)
        state._connection.execute("PRAGMA cache_size = 1")
        with pytest.raises(sqlite3.OperationalError):
            state.keep_desired(large)
        state._connection.execute("PRAGMA query_only = 1")  # as on a disk that takes nothing
        assert state.begin_epoch(9) == 9
        assert state.desired() == DESIRED
        state._connection.execute("PRAGMA query_only = 0")
        (small_disk / "others").unlink()
        state.keep_desired(large)
        assert state.desired() == large


def test_ballast_is_kept_once_and_given_back(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path)
    assert not ballast.release()
    ballast.keep()
    ballast.keep()
    assert (tmp_path / "ballast").stat().st_size == SIZE_BYTES
    assert ballast.release()
    assert not (tmp_path / "ballast").exists()


def test_ballast_is_no_reason_to_fail(tmp_path: Path) -> None:
    Ballast(tmp_path / "nowhere").keep()
    assert not Ballast(tmp_path / "nowhere").release()


@pytest.mark.root
@is_root
def test_an_agent_of_real_parts_begins_and_ends_on_a_full_disk(
    small_disk: Path, tmp_path: Path
) -> None:
    config = make_device(tmp_path / "device", extra="[modules]\nhosts = ['process']\n")
    config = msgspec.structs.replace(config, state=small_disk)
    for _ in range(3):
        with StateLock(small_disk):
            agent = Agent(config, assembly.assemble)
            agent.start()
            agent.report(1)
            assert agent.crew.deaths == 0
            agent.stop()
        fill(small_disk)
