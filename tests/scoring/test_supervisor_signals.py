"""A supervisor with real processes: how it starts, reloads and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.scoring.supervised import Line, Supervised, is_alive, spread, starting, supervised, until

pytestmark = pytest.mark.slow


def test_what_does_not_load_at_first_ends_with_code_3_and_one_message(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("fail")
    with starting(2, folder=tmp_path) as server:
        assert server.wait() == 3
        assert server.errors == "error: the plan says fail\n"


def test_sigterm_lets_requests_finish_and_ends_with_code_0() -> None:
    with supervised(2) as server, server.lines(4) as lines:
        for line in lines:
            line.send("sleep 0.3 done\n")
        server.wait_read()
        children = server.children()
        server.signal(signal.SIGTERM)
        assert [line.read() for line in lines] == ["done"] * 4
        assert server.wait() == 0
        assert not any(map(is_alive, children))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


def test_sigterm_kills_who_does_not_finish_in_time() -> None:
    with supervised(2, drain_s=0.3) as server, server.line() as line:
        line.send("sleep 60 never\n")
        server.wait_read()
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert 0.3 <= time.monotonic() - began < 30


def test_a_second_signal_ends_at_once() -> None:
    with supervised(2, drain_s=60) as server, server.lines(2) as lines:
        for line in lines:
            line.send("sleep 60 never\n")
        server.wait_read()
        server.signal(signal.SIGTERM)
        until(lambda: not listens(server.port))
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_signals_to_the_whole_group_drain_too() -> None:
    with supervised(2) as server, server.lines(2) as lines:
        for line in lines:
            line.send("sleep 0.3 done\n")
        server.wait_read()
        for pid in server.children():
            os.kill(pid, signal.SIGTERM)
        server.signal(signal.SIGTERM)
        assert [line.read() for line in lines] == ["done"] * 2
        assert server.wait() == 0


def test_the_processes_leave_when_their_supervisor_is_killed() -> None:
    with supervised(2, drain_s=1) as server, server.lines(2) as lines:
        lines[0].send("sleep 0.2 done\n")
        lines[1].send("sleep 60 never\n")
        children = server.children()
        server.wait_read()
        server.signal(signal.SIGKILL)
        assert lines[0].read() == "done"
        until(lambda: not any(map(is_alive, children)))


def test_reload_moves_open_connections_to_the_new_generation() -> None:
    with supervised(2) as server, server.lines(16) as lines:
        old = server.children()
        assert {line.generation() for line in lines} == {1}
        server.signal(signal.SIGHUP)
        until(lambda: {line.generation() for line in lines} == {2})
        until(lambda: spread(lines) == [8, 8])
        until(lambda: not any(map(is_alive, old)))
        assert len(server.children()) == 2


def test_reload_waits_for_a_request_under_way() -> None:
    with supervised(2) as server, server.line() as line:
        line.send("sleep 0.5 old\n")
        with server.line() as last:
            until(lambda: last.generation() == 1)
            server.signal(signal.SIGHUP)
            until(lambda: last.generation() == 2)
        assert line.read() == "old"
        assert line.generation() == 2


@pytest.mark.parametrize("plan", ["fail", "crash", "raise"])
def test_a_reload_that_fails_keeps_the_old_generation(plan: str, tmp_path: Path) -> None:
    with supervised(2, folder=tmp_path) as server, server.lines(4) as lines:
        old = server.children()
        (tmp_path / "plan").write_text(plan)
        server.signal(signal.SIGHUP)
        server.wait_for("reload failed, the old generation goes on")
        until(lambda: server.children() == old)
        assert {line.generation() for line in lines} == {1}
        (tmp_path / "plan").write_text("ok")
        server.signal(signal.SIGHUP)
        until(lambda: lines[0].generation() > 1)


def test_reloads_under_traffic_fail_no_exchange() -> None:
    with supervised(2) as server, Traffic(server, clients=8) as traffic:
        for _ in range(3):
            generation = current_generation(server)
            server.signal(signal.SIGHUP)
            until(lambda seen=generation: current_generation(server) > seen)  # type: ignore[misc]
        traffic.stop()
        assert traffic.failures == []
        assert traffic.answers > 100


def test_kills_under_traffic_give_no_wrong_answer_and_hang_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SETTLED_S", "0")  # or the restarts would wait longer and longer
    with supervised(2) as server, Traffic(server, clients=8) as traffic, server.line() as line:
        dead = 0
        for kill in range(10):
            until(lambda dead=dead: is_whole_again(server, dead))  # type: ignore[misc]
            until(lambda seen=traffic.answers: traffic.answers > seen + 100)  # type: ignore[misc]
            dead = sorted(server.children())[kill % 2]
            os.kill(dead, signal.SIGKILL)
        until(lambda: is_whole_again(server, dead))
        # idle all the time, so it went on
        assert line.ask("echo still here") == "still here"
        traffic.stop()
        assert set(traffic.failures) <= {"cut"}
        assert len(traffic.failures) <= 10 * 8
        assert traffic.answers > 1000


def is_whole_again(server: Supervised, dead: int) -> bool:
    """The one that was killed counts no more, and another is ready in its place."""
    children = server.children()
    return dead not in children and len(children) == 2 and ready_count(server) == 2


def ready_count(server: Supervised) -> int:
    with contextlib.suppress(ConnectionError), server.line() as line:
        return int(line.ask("board").split()[0])
    return 0


def current_generation(server: Supervised) -> int:
    with server.line() as line:
        return line.generation()


class Traffic:
    """Clients that ask without pause, each on its connection, and note what goes wrong."""

    def __init__(self, server: Supervised, clients: int) -> None:
        self._server = server
        self._is_over = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._talk, args=(n,), daemon=True) for n in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _talk(self, client: int) -> None:
        asked = 0
        while not self._is_over.is_set():
            try:
                with self._server.line() as line:
                    while not self._is_over.is_set():
                        asked += 1
                        self._exchange(line, f"{client}.{asked}")
            except TimeoutError:
                self.failures.append("hang")
            except ConnectionError:
                self.failures.append("cut")

    def _exchange(self, line: Line, text: str) -> None:
        answer = line.ask(f"echo {text}")
        self.answers += 1
        if answer != text:
            self.failures.append(f"{text} -> {answer}")
