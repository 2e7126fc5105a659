"""A supervisor with real processes, sockets and signals: connections, deaths and restarts."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.scoring.supervised import spread, starting, supervised, until

pytestmark = pytest.mark.slow


def test_connections_are_spread_evenly() -> None:
    with supervised(2) as server, server.lines(32) as lines:
        assert spread(lines) == [16, 16]


def test_connections_are_served_while_the_model_loads(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("slow")
    with starting(2, folder=tmp_path) as server, server.lines(8) as lines:
        assert [line.ask("echo a") for line in lines] == ["a"] * 8
        assert lines[0].ask("board").split()[0] == "0"
        server.wait_ready()
        assert lines[0].ask("board").split()[0] == "2"
        until(lambda: spread(lines) == [4, 4])


def test_idle_connections_survive_the_death_of_their_process() -> None:
    with supervised(2) as server, server.lines(32) as lines:
        owners = [line.pid() for line in lines]
        os.kill(owners[0], signal.SIGKILL)
        assert [line.ask(f"echo {number}") for number, line in enumerate(lines)] == [
            str(number) for number in range(32)
        ]
        assert owners[0] not in {line.pid() for line in lines}
        until(lambda: spread(lines) == [16, 16])
        assert lines[0].ask("board").split()[:2] == ["2", "1"]


def test_busy_connections_are_cut_when_their_process_dies() -> None:
    with supervised(2) as server, server.lines(2) as (one, other):
        assert one.pid() != other.pid()
        victim = one.pid()
        one.send("sleep 5 never\n")
        other.send("sleep 0.2 fine\n")
        server.wait_read()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            one.read()
        assert other.read() == "fine"


def test_half_a_request_read_by_a_dead_process_cuts_its_connection() -> None:
    with supervised(1) as server, server.line() as line:
        victim = line.pid()
        line.send("echo never fi")
        server.wait_read()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            line.read()


def test_a_request_that_a_dead_process_had_not_read_is_answered_by_the_next() -> None:
    with supervised(1) as server, server.line() as line:
        victim = line.pid()
        os.kill(victim, signal.SIGSTOP)
        line.send("who\n")
        os.kill(victim, signal.SIGKILL)
        assert line.read().split()[0] != str(victim)


def test_new_connections_wait_while_no_process_lives(tmp_path: Path) -> None:
    with supervised(1, folder=tmp_path) as server:
        for _ in range(3):
            with server.line() as line:
                os.kill(line.pid(), signal.SIGKILL)
        with server.line() as line:
            assert line.ask("echo late") == "late"


def test_a_restarted_process_that_does_not_load_cuts_nobody_off(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("fail-once")
    with supervised(1, folder=tmp_path) as server, server.lines(3) as (busy, idle, other):
        os.kill(other.pid(), signal.SIGKILL)
        victim = other.pid()
        assert [busy.pid(), idle.pid()] == [victim, victim]
        busy.send("sleep 0.2 fine\n")
        server.wait_read()
        assert other.ask("fail") == "failing"
        server.wait_for("failed: error: it was told to fail")
        with server.line() as late:
            assert late.pid() != victim
        assert busy.read() == "fine"
        assert victim not in {line.pid() for line in (busy, idle, other)}
        server.wait_for("ended (exit code 3)")


def test_restarts_in_a_row_wait_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLED_S", "1000")  # we may be slow, and it would be no row
    with supervised(1, folder=tmp_path) as server:
        began = time.monotonic()
        for _ in range(4):  # 0 + 0.1 + 0.2 + 0.5 s
            with server.line() as line:
                os.kill(line.pid(), signal.SIGKILL)
        with server.line() as line:
            assert line.ask("board").split()[1] == "4"
        assert time.monotonic() - began >= 0.8
        server.wait_for("ended (signal SIGKILL); the next one starts in 0.5 s")


def test_the_bodies_that_ran_when_a_process_died_are_reported_and_told() -> None:
    with supervised(2) as server, server.lines(2) as (one, other):
        one.send("run-and-die poison\n")
        with pytest.raises(ConnectionResetError):
            one.read()
        until(lambda: "beware of poison" in other.ask("heard"))
        with server.line() as third:
            until(lambda: other.pid() != third.pid())
            # One of them is in the new process, forked after on_death.
            heard = [line.ask("heard") for line in (other, third)]
            assert any(text.endswith("[\"['poison'] True\"]") for text in heard)


def test_counters_survive_deaths() -> None:
    with supervised(2) as server, server.lines(4) as lines:
        for line in lines:
            assert line.ask("echo x") == "x"
        until(lambda: int(lines[0].ask("board").split()[2]) >= 4)
        until(lambda: lines[1].ask("echo a") == "a")
        before = int(lines[0].ask("board").split()[2])
        os.kill(lines[1].pid(), signal.SIGKILL)
        until(lambda: lines[0].ask("board").split()[1] == "1")
        assert int(lines[0].ask("board").split()[2]) >= before


def test_a_tell_reaches_every_process() -> None:
    with supervised(3) as server, server.lines(3) as lines:
        assert len({line.pid() for line in lines}) == 3
        assert lines[0].ask("tell news") == "told"
        until(lambda: all("news" in line.ask("heard") for line in lines))


def test_an_ask_collects_the_answers_of_every_process() -> None:
    with supervised(2) as server, server.lines(2) as lines:
        pids = sorted(str(line.pid()) for line in lines)
        answers, _, missing = lines[0].ask("ask load").partition(" missing ")
        assert sorted(answers.split()) == [f"load/{pid}" for pid in pids]
        assert missing == "0"


@pytest.mark.slow
def test_an_ask_ends_when_a_process_dies_instead_of_answering() -> None:
    with supervised(2) as server, server.lines(4) as (one, *others):
        mate = next(line for line in others if line.pid() == one.pid())
        victim = next(pid for pid in (line.pid() for line in others) if pid != one.pid())
        os.kill(victim, signal.SIGSTOP)
        one.send("ask load\n")
        server.wait_read()
        mate.ask("tell all")  # comes back behind the question, which the parent then has
        until(lambda: "all" in mate.ask("heard"))
        os.kill(victim, signal.SIGKILL)
        assert one.read().endswith(" missing 1")


def test_no_descriptor_stays_open_after_1000_connections() -> None:
    with supervised(2) as server, server.line() as line:
        line.ask("echo warm")
        before = line.ask("fds")
        for _ in range(20):
            with server.lines(50) as lines:
                assert {other.ask("echo x") for other in lines} == {"x"}
        until(lambda: line.ask("fds") == before)


def test_connections_beyond_the_descriptors_wait_for_their_turn() -> None:
    with supervised(2, descriptors=300) as server:
        served: list[str] = []
        with server.lines(250) as lines:
            for line in lines:
                line.send("echo x\n")
            for line in lines:
                served.append(line.read())
                line.close()
        assert served == ["x"] * 250
