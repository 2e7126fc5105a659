from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge import topics
from edge.agent.session import MAX_PENDING, Session
from edge.agent.state import AgentState
from edge.link.port import Message
from edge.messages.codec import encode
from edge.messages.desired import Desired, Module

DIGEST = "sha256:" + "a" * 64


class Talk:
    """A session, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.state = AgentState(folder)
        self.is_connected = True
        self.applied: list[int] = []
        self.acks: list[bytes] = []
        self.commands: list[bytes] = []
        self.events: list[str] = []
        self.stopping = threading.Event()
        self.session = Session(
            "a",
            self.state,
            announce=self._announce,
            apply=lambda desired: self.applied.append(desired.version),
            on_ack=self.acks.append,
            on_command=self.commands.append,
            on_announced=lambda: self.events.append("announced"),
            retry_s=0.001,
        )

    def hear(self, kind: str, payload: bytes, device: str = "a") -> None:
        self.session.on_message(Message(topics.topic(device, kind), payload))

    def desire(self, version: int, device: str = "a") -> None:
        self.hear(
            topics.DESIRED, encode(Desired(1, device, version, (Module("m", "m:1", DIGEST),)))
        )

    def step(self) -> None:
        self.session.step(self.stopping)

    def close(self) -> None:
        self.state.close()

    def _announce(self) -> bool:
        self.events.append("birth" if self.is_connected else "no link")
        return self.is_connected


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    with closing(Talk(tmp_path)) as found:
        yield found


def test_the_newest_desired_state_is_kept_and_then_followed(talk: Talk) -> None:
    talk.desire(2)
    talk.step()
    talk.desire(1)
    talk.desire(2)
    talk.desire(3)
    talk.step()
    assert talk.applied == [2, 3]
    kept = talk.state.desired()
    assert kept is not None
    assert kept.version == 3


def test_nothing_is_followed_that_could_not_be_kept(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(desired: Desired) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(talk.state, "keep_desired", full)
    talk.desire(2)
    with pytest.raises(sqlite3.OperationalError):
        talk.step()
    assert talk.applied == []
    monkeypatch.undo()
    talk.step()
    assert talk.applied == [2]


def test_a_malformed_one_is_told_and_hides_no_good_one(talk: Talk) -> None:
    talk.hear(topics.DESIRED, b"{}")
    talk.step()
    assert talk.session.error is not None
    talk.desire(2)
    talk.hear(topics.DESIRED, b"\xff")
    talk.step()
    assert talk.applied == [2]
    assert "refused" in str(talk.session.error)
    talk.desire(3)
    talk.step()
    assert talk.session.error is None


def test_a_flood_keeps_the_last_ones(talk: Talk) -> None:
    for version in range(1, 10 * MAX_PENDING):
        talk.desire(version)
    talk.step()
    assert talk.applied[-1] == 10 * MAX_PENDING - 1
    assert len(talk.applied) <= MAX_PENDING


def test_acks_and_commands_go_where_they_belong(talk: Talk) -> None:
    talk.hear(topics.ACK, b"ack")
    talk.hear(topics.COMMAND, b"command")
    assert (talk.acks, talk.commands) == ([b"ack"], [b"command"])


def test_what_is_for_another_or_no_topic_of_ours_is_ignored(talk: Talk) -> None:
    talk.hear(topics.COMMAND, b"x", device="b")
    talk.hear(topics.REPORTED, b"x")
    talk.hear(topics.DESIRED, b"")
    talk.session.on_message(Message("else/where", b"x"))
    talk.step()
    assert (talk.commands, talk.applied, talk.session.error) == ([], [], None)


def test_a_new_connection_is_announced_until_the_link_takes_it(talk: Talk) -> None:
    talk.is_connected = False
    talk.session.on_connected()
    talk.step()
    talk.is_connected = True
    talk.step()
    talk.step()
    assert talk.events == ["no link", "birth", "announced"]


def test_what_was_followed_before_is_known_after_a_restart(talk: Talk, tmp_path: Path) -> None:
    talk.desire(7)
    talk.step()
    with closing(Talk(tmp_path)) as again:
        assert again.session.version == 7
