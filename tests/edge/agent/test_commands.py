from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.agent.commands import MAX_AT_ONCE, Commands
from edge.agent.replies import MAX_PART_BYTES, parts
from edge.agent.state import AgentState
from edge.agent.threads import Crew
from edge.errors import HostError
from edge.messages.codec import decode, encode
from edge.messages.commands import Command, Name, Reply

PATIENCE_S = 45.0


class Desk:
    """Commands at work, and what they answered."""

    def __init__(self, folder: Path) -> None:
        self.now_ms: int | None = 1000
        self.is_connected = True
        self.replies: list[Reply] = []
        self.did: list[str] = []
        self.release = threading.Event()
        self.state = AgentState(folder)
        self.crew = Crew()
        self.commands = Commands(
            self.state,
            {
                "ping": lambda arguments: "pong",
                "logs": lambda arguments: "line\n" * int(arguments["lines"]),
                "restart": self._restart,
                "check": self._hang,
                "support-bundle": self._fail,
            },
            place_within_s=0.3,
            send=self._send,
            hub_now_ms=lambda: self.now_ms,
            retry_s=0.01,
            time_known_within_s=0.05,
        )
        self.crew.add("commands", self.commands.work)

    def ask(self, name: Name, id: str = "c1", expires_ms: int = 2000, **arguments: Any) -> None:
        self.commands.put(encode(Command(1, id, name, expires_ms, arguments)))

    def answers(self, count: int = 1) -> list[Reply]:
        wait(lambda: len(self.replies) >= count)
        return self.replies

    def close(self) -> None:
        self.release.set()
        self.crew.stopping.set()
        self.commands.wake()
        self.crew.stop(time.monotonic() + PATIENCE_S)
        wait(lambda: not any(t.name.startswith("command ") for t in threading.enumerate()))
        self.state.close()

    def _send(self, payload: bytes) -> bool:
        if self.is_connected:
            self.replies.append(decode(payload, Reply))
        return self.is_connected

    def _restart(self, arguments: Mapping[str, Any]) -> str:
        self.did.append(str(arguments["module"]))
        return "restarted"

    def _hang(self, arguments: Mapping[str, Any]) -> str:
        self.release.wait()
        return "at last"

    def _fail(self, arguments: Mapping[str, Any]) -> str:
        raise HostError("the engine does not answer")


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with closing(Desk(tmp_path)) as found:
        yield found


def test_a_command_is_done_and_answered(desk: Desk) -> None:
    desk.ask("ping")
    assert desk.answers() == [Reply(1, "c1", True, "pong")]


def test_a_command_that_comes_twice_is_done_once_and_answered_twice(desk: Desk) -> None:
    desk.ask("restart", module="m")
    desk.answers(1)
    wait(lambda: not any(t.name.startswith("command ") for t in threading.enumerate()))
    desk.ask("restart", module="m")
    assert desk.answers(2)[1] == Reply(1, "c1", True, "restarted")
    assert desk.did == ["m"]


def test_a_command_that_was_begun_before_a_crash_is_not_done_again(desk: Desk) -> None:
    desk.state.begin_command("c1")
    desk.ask("restart", module="m")
    assert "begun before" in str(desk.answers()[0].error)
    assert desk.did == []


def test_a_question_that_was_begun_before_a_crash_is_answered(desk: Desk) -> None:
    desk.state.begin_command("c1")
    desk.ask("ping")
    assert desk.answers()[0].text == "pong"


def test_a_late_command_is_refused_by_the_hubs_time(desk: Desk) -> None:
    desk.now_ms = 5000
    desk.ask("restart", module="m", expires_ms=2000)
    assert "3.0 s too late" in str(desk.answers()[0].error)
    assert desk.did == []


def test_without_the_hubs_time_only_what_is_harmless_is_done(desk: Desk) -> None:
    desk.now_ms = None
    desk.ask("restart", module="m")
    assert "time" in str(desk.answers(1)[0].error)
    desk.ask("ping", id="c2")
    assert desk.answers(2)[1].ok
    assert desk.did == []


def test_a_failure_is_answered_in_its_words_and_a_defect_without_its(desk: Desk) -> None:
    desk.ask("support-bundle")
    assert desk.answers(1)[0] == Reply(1, "c1", False, error="the engine does not answer")
    desk.ask("logs", id="c2")  # without its argument
    found = desk.answers(2)[1]
    assert not found.ok
    assert "KeyError" in str(found.error)


def test_one_that_this_agent_cannot_do_is_refused(desk: Desk) -> None:
    desk.ask("telemetry-flush")
    assert "does not know" in str(desk.answers()[0].error)


def test_commands_that_hang_hold_up_no_other_until_too_many_do(desk: Desk) -> None:
    for number in range(MAX_AT_ONCE - 1):
        desk.ask("check", id=f"h{number}")
    desk.ask("ping", id="quick")
    assert desk.answers(1)[0].id == "quick"
    wait(lambda: sum(t.name == "command check" for t in threading.enumerate()) == 3)
    wait(lambda: not any(t.name == "command ping" for t in threading.enumerate()))
    desk.ask("check", id="last")
    desk.ask("ping", id="refused")
    assert "under way" in str(desk.answers(2)[1].error)
    desk.release.set()
    assert sum(reply.ok for reply in desk.answers(6)) == 5


def test_what_waited_while_the_device_was_away_is_done_all_of_it(desk: Desk) -> None:
    for number in range(30):
        desk.ask("ping", id=f"p{number}")
    assert all(reply.ok for reply in desk.answers(30))


def test_an_answer_waits_for_the_connection(desk: Desk) -> None:
    desk.is_connected = False
    desk.ask("restart", module="m")
    wait(lambda: desk.did == ["m"])
    assert desk.replies == []
    desk.is_connected = True
    assert desk.answers()[0].ok


def test_what_is_no_command_is_ignored(desk: Desk) -> None:
    for junk in (b"", b"{", b"[]", b'{"v":1}', b"\xff" * 100, b'{"v":1,"id":"","name":"ping"}'):
        desk.commands.put(junk)
    desk.ask("ping", id="")
    desk.ask("ping", id="after")
    assert [reply.id for reply in desk.answers()] == ["after"]


def test_a_flood_is_dropped(desk: Desk) -> None:
    for _ in range(10_000):
        desk.commands.put(b"{")
    wait(lambda: desk.commands._queue.empty())
    desk.ask("ping")
    assert desk.answers()[0].ok


def test_a_long_answer_comes_in_parts_that_any_broker_takes(desk: Desk) -> None:
    desk.ask("logs", lines=100_000)
    found = desk.answers(5)
    wait(lambda: found[-1].parts is not None)
    assert [reply.part for reply in found] == list(range(len(found)))
    assert found[-1].parts == len(found)
    assert "".join(reply.text for reply in found) == "line\n" * 100_000


@given(st.text(alphabet=st.sampled_from('a\n"\x1b\u20ac\U0001f600\\'), max_size=50))
def test_parts_put_together_are_the_whole(unit: str) -> None:
    reply = Reply(1, "x", True, unit * 5000)
    found = parts(reply)
    assert "".join(part.text for part in found) == reply.text
    assert all(len(encode(part)) <= MAX_PART_BYTES for part in found)
    assert [part.parts for part in found[:-1]] == [None] * (len(found) - 1)
    assert found[-1].parts == len(found)


def test_a_bundle_in_base64_survives_the_parts() -> None:
    data = os.urandom(400_000)
    found = parts(Reply(1, "x", True, base64.b64encode(data).decode()))
    assert len(found) > 3
    assert base64.b64decode("".join(part.text for part in found)) == data


def test_a_failure_names_its_error_once_at_the_end() -> None:
    found = parts(Reply(1, "x", False, "y" * 300_000, error="no"))
    assert [part.error for part in found] == [None] * (len(found) - 1) + ["no"]
