from __future__ import annotations

import pytest

from edge.errors import InvalidSpecError, NotFoundError
from edge.hub.batch import RefusedError
from edge.hub.command_queue import (
    MAX_PARTS,
    Outcome,
    command,
    keep_reply,
    open_commands,
    outcome,
    send,
    wait,
)
from edge.hub.database import Database
from edge.messages import codec
from edge.messages.commands import Command, Reply
from tests.edge.hub.fakes import NOW_MS


def part(id: str, number: int, parts: int | None, text: str = "", **more: object) -> Reply:
    fields = {"ok": True, "error": None} | more
    return Reply(codec.VERSION, id, bool(fields["ok"]), text, fields["error"], number, parts)  # type: ignore[arg-type]


def keep(database: Database, reply: Reply, device: str = "a") -> bool:
    with database.writer() as connection:
        return keep_reply(connection, device, reply, NOW_MS + 1)


def found(database: Database, id: str) -> Outcome:
    with database.reader() as connection:
        return outcome(connection, id)


def test_a_command_is_open_until_it_is_answered_or_expires(database: Database) -> None:
    id = send(database, "a", "logs", {"module": "digits"}, now_ms=NOW_MS, expires_s=60)
    with database.reader() as connection:
        assert open_commands(connection, NOW_MS) == [id]
        assert open_commands(connection, NOW_MS, "b") == []
        assert open_commands(connection, NOW_MS + 60_000) == []
        assert command(connection, id, NOW_MS + 60_000) is None
        assert command(connection, id, NOW_MS) == (
            "a",
            Command(codec.VERSION, id, "logs", NOW_MS + 60_000, {"module": "digits"}),
        )
    assert keep(database, part(id, 0, 1, "words"))
    with database.reader() as connection:
        assert open_commands(connection, NOW_MS) == []
        assert command(connection, id, NOW_MS) is None
    answered = found(database, id)
    assert (answered.ok, answered.text, answered.completed_ms) == (True, "words", NOW_MS + 1)


def test_parts_come_in_any_order_and_twice(database: Database) -> None:
    id = send(database, "a", "support-bundle", now_ms=NOW_MS)
    assert keep(database, part(id, 2, 3, "c"))
    assert keep(database, part(id, 0, None, "a"))
    assert not keep(database, part(id, 0, None, "a"))
    assert found(database, id).ok is None
    assert keep(database, part(id, 1, None, "b"))
    assert (found(database, id).ok, found(database, id).text) == (True, "abc")
    assert not keep(database, part(id, 1, None, "x"))


def test_a_failure_is_told(database: Database) -> None:
    id = send(database, "a", "restart", {"module": "x"}, now_ms=NOW_MS)
    keep(database, part(id, 0, 1, ok=False, error="no module x"))
    assert (found(database, id).ok, found(database, id).error) == (False, "no module x")


def test_waiting_ends_with_the_reply_or_the_timeout(database: Database) -> None:
    id = send(database, "a", "ping", now_ms=NOW_MS)
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 3:
            keep(database, part(id, 0, 1, "pong"))

    assert wait(database, id, timeout_s=1, clock=lambda: now, sleep=sleep).ok is None
    assert wait(database, id, timeout_s=60, clock=lambda: now, sleep=sleep).text == "pong"
    assert now < 4


@pytest.mark.parametrize(
    ("number", "parts"), [(-1, 1), (1, 1), (5, 2), (0, 0), (0, -1), (0, 10**30), (10**30, None)]
)
def test_parts_that_cannot_be_are_refused(
    database: Database, number: int, parts: int | None
) -> None:
    id = send(database, "a", "ping", now_ms=NOW_MS)
    with pytest.raises(RefusedError):
        keep(database, part(id, number, parts))
    assert MAX_PARTS < 10**30


def test_nobody_answers_for_another(database: Database) -> None:
    id = send(database, "a", "ping", now_ms=NOW_MS)
    for one, device in ((part(id, 0, 1), "b"), (part("unknown", 0, 1), "a")):
        with pytest.raises(RefusedError):
            keep(database, one, device)
    assert found(database, id).ok is None


def test_what_cannot_be_sent_is_refused(database: Database) -> None:
    with pytest.raises(NotFoundError):
        send(database, "nobody", "ping", now_ms=NOW_MS)
    with pytest.raises(InvalidSpecError):
        send(database, "a", "logs", {"module": "x" * 300_000}, now_ms=NOW_MS)
    with pytest.raises(NotFoundError):
        found(database, "unknown")


def test_what_hides_behind_a_nul_counts_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.hub.command_queue.MAX_REPLY_BYTES", 100)
    id = send(database, "a", "logs", now_ms=NOW_MS)
    assert keep(database, part(id, 0, None, "\0" + "x" * 60))
    with pytest.raises(RefusedError):
        keep(database, part(id, 1, None, "\0" + "x" * 60))
    assert len(found(database, id).text) == 61
