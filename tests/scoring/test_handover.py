"""A reload of what one process at a time can have: the old one leaves first, and nobody fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from scoring.supervision.fleet import Fleet
from scoring.supervision.handover import Handover, Phase
from tests.scoring.supervised import starting, supervised, until
from tests.scoring.test_supervisor_signals import Traffic, current_generation


def test_the_new_one_loads_when_the_old_one_is_gone() -> None:
    old, new = Fleet(1, "old", 1), Fleet(2, "new", 1)
    handover = Handover(old, new)
    assert handover.waits
    assert not handover.may_fork(old)
    assert not handover.may_fork(new)
    assert handover.vacated() is new
    assert handover.phase is Phase.LOADING
    assert handover.may_fork(new)
    assert not handover.may_fork(old), "it must not come back while the new one loads"
    assert not handover.waits


@pytest.mark.parametrize("has_begun", [False, True])
def test_the_old_one_comes_back_when_the_new_one_is_gone(has_begun: bool) -> None:
    old, new = Fleet(1, "old", 1), Fleet(2, "new", 1)
    handover = Handover(old, new)
    if has_begun:
        handover.vacated()
    handover.give_up()
    assert handover.waits
    assert not handover.may_fork(old)
    assert handover.vacated() is old
    assert handover.may_fork(old)
    assert not handover.may_fork(new)


def _plan(folder: Path, text: str) -> None:
    (folder / "plan").write_text(text)


@pytest.mark.slow
def test_reloads_under_traffic_fail_no_exchange_though_one_process_at_a_time_can_load(
    tmp_path: Path,
) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(2, folder=tmp_path) as server, Traffic(server, clients=8) as traffic:
        assert len(server.children()) == 1, "one process, though two were asked for"
        for _ in range(3):
            generation = current_generation(server)
            server.signal(signal.SIGHUP)
            until(lambda seen=generation: current_generation(server) > seen)  # type: ignore[misc]
        traffic.stop()
        assert traffic.failures == []
        assert traffic.answers > 100
        assert "reload failed" not in server.errors


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["fail", "crash"])
def test_the_old_generation_loads_again_when_the_new_one_does_not(
    plan: str, tmp_path: Path
) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(1, folder=tmp_path) as server, Traffic(server, clients=4) as traffic:
        before = server.children()
        _plan(tmp_path, f"alone {plan}")
        server.signal(signal.SIGHUP)
        server.wait_for("reload failed, the old generation goes on")
        assert current_generation(server) == 1
        assert server.children().isdisjoint(before), "it had to leave"
        _plan(tmp_path, "alone ok")
        server.signal(signal.SIGHUP)
        until(lambda: current_generation(server) > 1)
        traffic.stop()
        assert traffic.failures == []


@pytest.mark.slow
def test_an_unreadable_new_generation_leaves_the_old_one_alone(tmp_path: Path) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(1, folder=tmp_path) as server:
        before = server.children()
        _plan(tmp_path, "raise")
        server.signal(signal.SIGHUP)
        server.wait_for("reload failed, the old generation goes on")
        assert server.children() == before


@pytest.mark.slow
def test_from_many_processes_to_one_and_back_and_at_once_to_one_again(tmp_path: Path) -> None:
    with supervised(2, folder=tmp_path) as server, Traffic(server, clients=4) as traffic:
        for plan in ("alone ok", "ok", "alone ok", "alone slow", "ok"):
            generation = current_generation(server)
            _plan(tmp_path, plan)
            server.signal(signal.SIGHUP)
            until(lambda seen=generation: current_generation(server) > seen)  # type: ignore[misc]
        traffic.stop()
        assert traffic.failures == []
        assert "reload failed" not in server.errors


@pytest.mark.slow
def test_a_request_under_way_is_finished_before_the_next_loads(tmp_path: Path) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(1, folder=tmp_path) as server, server.line() as busy, server.line() as idle:
        busy.send("sleep 0.3 old\n")
        assert idle.generation() == 1
        server.wait_read()
        server.signal(signal.SIGHUP)
        assert busy.read() == "old"
        until(lambda: idle.generation() == 2)


@pytest.mark.slow
def test_one_that_dies_while_the_new_one_loads_does_not_come_back(tmp_path: Path) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(1, folder=tmp_path) as server:
        (old,) = server.children()
        _plan(tmp_path, "alone slow")
        server.signal(signal.SIGHUP)
        os.kill(old, signal.SIGKILL)
        until(lambda: current_generation(server) == 2)
        assert len(server.children()) == 1
        assert "another process has the board" not in server.errors


@pytest.mark.slow
def test_what_cannot_be_served_here_ends_the_server_with_code_1(tmp_path: Path) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(1, folder=tmp_path), starting(1, folder=tmp_path) as second:
        assert second.wait() == 1
        assert second.errors == "error: another process has the board\n"


@pytest.mark.slow
def test_a_signal_to_end_is_heard_while_the_new_one_loads(tmp_path: Path) -> None:
    _plan(tmp_path, "alone ok")
    with supervised(1, folder=tmp_path) as server:
        _plan(tmp_path, "alone slow")
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
