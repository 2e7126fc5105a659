from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.agent.state import KEPT_COMMANDS, AgentState, Seen, StateLock, lock_holder
from edge.errors import ConfigError, ConflictError
from edge.messages.commands import Reply
from edge.messages.desired import Desired, Module


@pytest.fixture
def state(tmp_path: Path) -> Iterator[AgentState]:
    with closing(AgentState(tmp_path)) as found:
        yield found


def test_epochs_grow_over_restarts_and_a_clock_that_falls_back(tmp_path: Path) -> None:
    epochs = []
    for wall_s in (1_000, 2_000, 0, 0, 1_500):
        with closing(AgentState(tmp_path)) as state:
            epochs.append(state.begin_epoch(wall_s))
    assert epochs == [1_000, 2_000, 2_001, 2_002, 2_003]


def test_the_desired_state_is_there_after_a_restart(tmp_path: Path) -> None:
    with closing(AgentState(tmp_path)) as state:
        assert state.desired() is None
        for version in (3, 4):
            module = Module("m", "m:1", f"sha256:{version:064x}")
            state.keep_desired(Desired(1, "a", version, (module,)))
    with closing(AgentState(tmp_path)) as state:
        found = state.desired()
    assert found is not None
    assert found.version == 4
    assert found.modules[0].digest.endswith("4")


def test_a_desired_state_of_another_program_is_as_none(state: AgentState) -> None:
    state.keep_desired(Desired(99, "a", 1))
    assert state.desired() is None


def test_a_command_is_new_once(state: AgentState) -> None:
    assert state.begin_command("c1") is None
    assert state.begin_command("c1") == Seen(None)
    state.end_command(Reply(1, "c1", True, "done"))
    assert state.begin_command("c1") == Seen(Reply(1, "c1", True, "done"))


def test_a_long_answer_is_not_kept(state: AgentState) -> None:
    state.begin_command("c1")
    state.end_command(Reply(1, "c1", True, "x" * 100_000))
    seen = state.begin_command("c1")
    assert seen is not None
    assert seen.reply is not None
    assert not seen.reply.ok


def test_only_the_last_commands_are_known(state: AgentState, tmp_path: Path) -> None:
    for number in range(KEPT_COMMANDS + 5):
        state.begin_command(f"c{number}")
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        count = connection.execute("SELECT count(*) FROM agent_commands").fetchone()[0]
    assert count == KEPT_COMMANDS
    assert state.begin_command(f"c{KEPT_COMMANDS + 4}") == Seen(None)


@pytest.mark.parametrize("damage", [b"this is no database" * 400, b"\0" * 8192])
def test_a_damaged_file_is_put_aside(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "state.db").write_bytes(damage)
    with closing(AgentState(tmp_path)) as state:
        assert state.was_damaged
        assert state.desired() is None
        assert state.begin_epoch(5) == 5
    assert (tmp_path / "state.db.damaged").read_bytes() == damage


def test_a_folder_in_the_place_of_the_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(ConfigError, match=r"state\.db"):
        AgentState(tmp_path)


def test_one_agent_has_a_folder_at_a_time(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    with StateLock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with pytest.raises(ConflictError, match="another agent"), StateLock(tmp_path):
            pass
    assert lock_holder(tmp_path) is None
    with StateLock(tmp_path):
        pass


def test_a_state_folder_that_cannot_be_made_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"), StateLock(tmp_path / "file" / "s"):
        pass


KILLED = """
import sys
from pathlib import Path
from edge.agent.state import AgentState
from edge.messages.desired import Desired
state = AgentState(Path(sys.argv[1]))
for version in range(1, 10**6):
    state.keep_desired(Desired(1, "a", version))
    print(version, flush=True)
"""


@pytest.mark.slow
def test_what_was_kept_outlives_a_kill(tmp_path: Path) -> None:
    said = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said = int(line)
                if said >= 20:
                    break
            process.send_signal(signal.SIGKILL)
        with closing(AgentState(tmp_path)) as state:
            found = state.desired()
            assert not state.was_damaged
        assert found is not None
        assert found.version >= said


def test_the_lock_is_free_after_a_kill(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_lock_and_die, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with StateLock(tmp_path):
        pass


def _lock_and_die(folder: Path) -> None:
    with StateLock(folder):
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_modules_run_with_is_for_no_other_user(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch(mode=0o644)
    with closing(AgentState(tmp_path)) as state:
        state.begin_epoch(0)
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.glob("state.db*")}
    assert modes == {"state.db": 0, "state.db-wal": 0, "state.db-shm": 0}


def test_an_answer_of_many_escapes_is_read_again(state: AgentState) -> None:
    state.begin_command("c")
    state.end_command(Reply(v=1, id="c", ok=True, text="\x01" * 65_000))
    seen = state.begin_command("c")
    assert seen is not None
    assert seen.reply is not None
    assert seen.reply.ok
