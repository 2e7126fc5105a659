from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from runtime.hooks.answer import Answer, Result
from runtime.hooks.delivery import TRIES
from runtime.hooks.exchange import Reply
from runtime.hooks.webhook import Message, deliver
from tests.runtime.hooks.receivers import Say, receiving

BEFORE = Message(url="http://ops.example/", id="c1.before", body=b"{}", may_veto=True)
AFTER = Message(url="http://ops.example/", id="c1.after", body=b"{}", secret=b"s")


@dataclass
class World:
    """Time that passes only by waiting; ``says``: what comes of each try."""

    says: list[Reply | Exception]
    now_s: float = 1000.0
    post_s: float = 0.0
    waits: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    is_ending: bool = False

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        self.headers.append(dict(headers))
        self.limits.append(timeout_s)
        self.now_s += min(self.post_s, timeout_s)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said

    def sleep(self, wait_s: float) -> bool:
        self.waits.append(wait_s)
        self.now_s += wait_s
        return not self.is_ending

    def deliver(
        self, message: Message, each_s: float = 5.0, total_s: float = float("inf")
    ) -> Answer:
        return deliver(
            message,
            each_s=each_s,
            total_s=total_s,
            sleep=self.sleep,
            post=self.post,
            clock=lambda: self.now_s,
            wall_clock=lambda: self.now_s,
        )


def test_it_is_tried_until_it_is_taken_with_the_same_id_and_a_new_signature() -> None:
    world = World([ConnectionRefusedError(111, "Connection refused"), Reply(503), Reply(204)])
    found = world.deliver(AFTER)
    assert (found.result, found.tries) == (Result.OK, 3)
    assert world.waits == [1, 2]
    assert {each["Webhook-Id"] for each in world.headers} == {"c1.after"}
    assert len({each["Webhook-Signature"] for each in world.headers}) == 3
    assert [each["Webhook-Timestamp"] for each in world.headers] == ["1000", "1001", "1003"]


def test_it_is_given_up_after_enough_tries() -> None:
    world = World([Reply(500, b"no\nsky")])
    found = world.deliver(AFTER)
    assert (found.result, found.tries) == (Result.FAILED, TRIES)
    assert found.said == "it answers 500: no sky"


def test_retry_after_is_honoured() -> None:
    world = World([Reply(429, retry_after="30"), Reply(200)])
    assert world.deliver(AFTER).result is Result.OK
    assert world.waits == [30]
    assert World([Reply(429, retry_after="100000")]).deliver(AFTER).tries == 1


def test_before_a_change_no_try_lasts_longer_than_all_of_it_may() -> None:
    world = World([TimeoutError()], post_s=99)
    found = world.deliver(BEFORE, each_s=5, total_s=5)
    assert (found.result, found.tries) == (Result.TIMEOUT, 1)
    world = World([Reply(503)], post_s=1.5)
    found = world.deliver(BEFORE, each_s=5, total_s=5)
    assert found.took_s <= 5
    assert world.limits == [5, 2.5]


@pytest.mark.parametrize(
    ("message", "reply", "result", "said"),
    [
        (BEFORE, Reply(409, b"a backup runs"), Result.NOT_NOW, "a backup runs"),
        (BEFORE, Reply(409), Result.NOT_NOW, "not now"),
        (AFTER, Reply(409, b"x"), Result.FAILED, "it answers 409: x"),
        (BEFORE, Reply(200, b"\x1b[31mfine\r\n"), Result.OK, "?[31mfine"),
        (BEFORE, Reply(401), Result.FAILED, "it answers 401"),
        (
            BEFORE,
            Reply(302, location="file:///etc/passwd\n"),
            Result.FAILED,
            "it answers 302 and redirects to file:///etc/passwd, which is not followed",
        ),
    ],
)
def test_what_an_answer_means(message: Message, reply: Reply, result: Result, said: str) -> None:
    found = World([reply]).deliver(message)
    assert (found.result, found.said, found.tries) == (result, said, 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (http.client.BadStatusLine("x"), "its answer is no HTTP (BadStatusLine)"),
        (ValueError("a header is not one line of ASCII"), "ValueError: a header"),
    ],
)
def test_why_there_is_no_answer_is_said(error: Exception, said: str) -> None:
    found = World([error]).deliver(AFTER)
    assert found.result is Result.FAILED
    assert said in found.said


def test_when_the_controller_ends_it_is_not_tried_again() -> None:
    world = World([Reply(503)], is_ending=True)
    assert world.deliver(AFTER).tries == 1


def test_when_it_may_be_asked_again_is_handed_on() -> None:
    assert World([Reply(409, retry_after="90")]).deliver(BEFORE).again_s == 90


def test_a_real_receiver_gets_it() -> None:
    with receiving(Say(200, b"thanks")) as receiver:
        message = Message(url=receiver.url, id="c1.after", body=b'{"v": 1}', secret=b"s")
        found = deliver(message, each_s=10, sleep=lambda wait_s: False)
    assert (found.result, found.said) == (Result.OK, "thanks")
    (got,) = receiver.got
    assert got.body == b'{"v": 1}'
    assert got.headers["Webhook-Id"] == "c1.after"
    assert got.headers["Webhook-Signature"].startswith("v1,")
