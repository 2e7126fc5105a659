from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime.autoscale import Cause, Decision
from runtime.deployments.outside import FRESH_S, PERIOD_S, Outside, with_outside
from runtime.hooks.exchange import Reply
from tests.runtime.deployments.waiting import eventually
from tests.runtime.hooks.receivers import Say, receiving

URL = "http://scaler.example/web"
OWN = Decision(2, "the load", Cause.STEADY)
NONE = Decision(0, "nobody asks", Cause.ASLEEP)


class World:
    def __init__(self, *says: Reply | Exception) -> None:
        self.says, self.now_s, self.asked = list(says), 100.0, 0
        self.outside = Outside("web", get=self.get, clock=lambda: self.now_s)

    def get(self, url: str, body: None, headers: dict[str, str], timeout_s: float) -> Reply:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        self.asked += 1
        if isinstance(said, Exception):
            raise said
        return said

    def until(self, ask: Callable[[], object]) -> None:
        eventually(ask, 30)


def test_it_is_asked_each_few_seconds_and_nobody_waits() -> None:
    world = World(Reply(200, b'{"replicas": 3}'), Reply(200, b'{"replicas": 5, "why": "x"}'))
    assert world.outside.said(URL) is None
    world.until(lambda: world.outside.said(URL) == 3)
    assert world.asked == 1
    world.now_s += PERIOD_S
    world.until(lambda: world.outside.said(URL) == 5)
    assert world.outside.trouble is None
    world.outside.close()


def test_an_old_answer_counts_no_more_and_why_is_said() -> None:
    world = World(Reply(200, b'{"replicas": 3}'), TimeoutError())
    world.until(lambda: world.outside.said(URL) == 3)
    world.now_s += PERIOD_S
    world.until(lambda: (world.outside.said(URL), world.outside.trouble)[1])
    assert world.outside.said(URL) == 3
    world.now_s += FRESH_S
    assert world.outside.said(URL) is None
    assert "no answer within 2 s; Inferry decides meanwhile" in (world.outside.trouble or "")
    world.outside.close()


def test_what_another_url_said_counts_for_nothing() -> None:
    world = World(Reply(200, b'{"replicas": 3}'))
    world.until(lambda: world.outside.said(URL) == 3)
    assert world.outside.said(None) is None
    world.says = [Reply(500)]
    assert world.outside.said("http://other.example/") is None
    world.until(lambda: world.outside.trouble)
    world.outside.close()


@pytest.mark.parametrize(
    "said",
    [
        Reply(500, b'{"replicas": 3}'),
        Reply(302, b'{"replicas": 3}'),
        Reply(200, b"3"),
        Reply(200, b""),
        Reply(200, b"{"),
        Reply(200, b"\xff"),
        Reply(200, b'{"replicas": -1}'),
        Reply(200, b'{"replicas": 2.5}'),
        Reply(200, b'{"replicas": "3"}'),
        Reply(200, b'{"replicas": null}'),
        Reply(200, b"[" * 2000),
        Reply(200, b'{"a": ' + b"[" * 2000),
        Reply(200, b'{"replicas": ' + b"9" * 1000 + b"}"),
        ConnectionRefusedError(111, "Connection refused"),
        OSError("no sky"),
    ],
)
def test_what_is_no_number_is_no_answer(said: Reply | Exception) -> None:
    world = World(said)
    world.outside.said(URL)
    world.until(lambda: world.outside.trouble)
    assert world.outside.said(URL) is None
    assert (world.outside.trouble or "").isprintable()
    world.outside.close()


def test_a_real_one_is_asked() -> None:
    with receiving(Say(200, b'{"replicas": 4}')) as receiver:
        outside = Outside("web")
        eventually(lambda: outside.said(receiver.url) == 4, 30)
        outside.close()
    assert receiver.got[0].method == "GET"


@pytest.mark.parametrize(
    ("own", "said", "kept", "least", "replicas"),
    [
        (OWN, None, 1, 0, 2),  # nobody said anything
        (OWN, 4, 2, 1, 4),
        (OWN, 99, 2, 1, 5),  # as many as are declared
        (OWN, 0, 2, 0, 1),  # the last one sleeps when Inferry says so
        (NONE, 0, 1, 0, 0),
        (NONE, 3, 1, 0, 3),
        (Decision(1, "held", Cause.AWAKE), 0, 0, 0, 1),  # a held request waits for nobody
        (NONE, 3, 0, 0, 3),
        (OWN, 1, 4, 2, 2),
        (OWN, 10**30, 4, 2, 5),
    ],
)
def test_it_counts_within_what_is_declared(
    own: Decision, said: int | None, kept: int, least: int, replicas: int
) -> None:
    found = with_outside(own, said, kept=kept, least=least, most=5)
    assert found.replicas == replicas
    assert (found is own) or found.cause is Cause.EXTERNAL
