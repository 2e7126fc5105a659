from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from registry.deployments import Hooks
from registry.errors import TrustError
from runtime.autoscale.change import After, Before, Outcome
from runtime.autoscale.decision import Cause
from runtime.hooks.answer import Answer, Result
from runtime.hooks.exchange import Reply
from runtime.hooks.lane import Lane
from runtime.hooks.running import Asking, DeploymentHooks
from tests.runtime.deployments.waiting import eventually
from tests.runtime.hooks.receivers import Say, receiving

BEFORE = Before(
    change="c1",
    deployment="web",
    at_unix_s=1.5e9,
    from_replicas=1,
    to_replicas=3,
    cause=Cause.MORE,
    why="more",
)
AFTER = After(
    change="c1",
    deployment="web",
    at_unix_s=1.5e9 + 2,
    from_replicas=1,
    to_replicas=3,
    cause=Cause.MORE,
    why="more",
    outcome=Outcome.DONE,
    ready_replicas=3,
    took_s=2.0,
)


def command(text: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", text, *arguments)


def asked(asking: Asking) -> Answer:
    return eventually(lambda: asking.answer, 30)


def test_before_and_after_are_told_by_webhook_and_command(tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "out"
    text = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    with receiving() as receiver:
        declared = Hooks(
            before_webhook=receiver.url,
            after_webhook=receiver.url,
            before_command=command(text, str(out)),
            after_command=command(text, str(out)),
            timeout_s=30,
        )
        hooks = DeploymentHooks("web", secret=lambda: b"s", told=lines.append)
        assert asked(hooks.ask(declared, BEFORE)).result is Result.OK
        hooks.tell(declared, AFTER)
        eventually(lambda: len(hooks.figures().results) == 4, 30)
        hooks.close()
    by_webhook = [json.loads(each.body) for each in receiver.got]
    by_command = [json.loads(line) for line in out.read_text().splitlines()]
    assert by_webhook == by_command
    assert [each["moment"] for each in by_webhook] == ["before", "after"]
    assert {each["change"] for each in by_webhook} == {"c1"}
    assert [each.headers["Webhook-Id"] for each in receiver.got] == ["c1.before", "c1.after"]
    assert set(hooks.figures().results.values()) == {1}
    assert {(n.moment, n.kind, n.result) for n in hooks.notes()} == {
        (moment, kind, "ok") for moment in ("before", "after") for kind in ("webhook", "command")
    }
    assert len(lines) == 4
    assert any(line.startswith("web webhook before 1 -> 3 replicas: ok in ") for line in lines)


def test_one_that_says_not_now_is_enough_and_the_others_are_not_waited_for() -> None:
    with receiving(Say(409, b"a backup runs", {"Retry-After": "7"})) as receiver:
        declared = Hooks(
            before_webhook=receiver.url,
            before_command=command("import time; time.sleep(60)"),
            timeout_s=60,
        )
        hooks = DeploymentHooks("web")
        found = asked(hooks.ask(declared, BEFORE))
        assert (found.result, found.said, found.again_s) == (Result.NOT_NOW, "a backup runs", 7)
        hooks.close()


def test_a_command_may_say_not_now_too() -> None:
    declared = Hooks(before_command=command("print('later'); raise SystemExit(75)"), timeout_s=30)
    hooks = DeploymentHooks("web")
    assert asked(hooks.ask(declared, BEFORE)).result is Result.NOT_NOW
    hooks.close()


def test_a_secret_that_cannot_be_opened_sends_nothing_unsigned() -> None:
    def secret() -> bytes:
        raise TrustError("sealed with another key")

    with receiving() as receiver:
        hooks = DeploymentHooks("web", secret=secret)
        found = asked(hooks.ask(Hooks(before_webhook=receiver.url), BEFORE))
        hooks.close()
    assert found.result is Result.FAILED
    assert "sealed with another key" in found.said
    assert receiver.got == []


def test_a_hook_that_hangs_holds_up_neither_the_caller_nor_another() -> None:
    hang = threading.Event()

    def post(*_: object) -> None:
        hang.wait(60)
        raise TimeoutError

    declared = Hooks(before_webhook="http://ops.example/", after_command=command(""), timeout_s=30)
    hooks = DeploymentHooks("web", post=post)  # type: ignore[arg-type]
    asking = hooks.ask(declared, BEFORE)
    hooks.tell(declared, AFTER)
    eventually(lambda: hooks.figures().results == {("after", "command", "ok"): 1}, 30)
    assert asking.answer is None
    for _ in range(100):  # a bounded number of them waits; the others are dropped at once
        last = hooks.ask(declared, BEFORE)
    assert last.answer is not None
    assert last.answer.result is Result.DROPPED
    hang.set()
    hooks.close()
    assert sum(hooks.figures().results.values()) == 102


def test_before_is_not_told_when_its_change_has_begun_without_it() -> None:
    may_answer = threading.Event()
    ids: list[str] = []

    def post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> Reply:
        ids.append(headers["Webhook-Id"])
        assert may_answer.wait(60)
        return Reply(200)

    declared = Hooks(before_webhook="http://ops.example/", timeout_s=0.1)
    hooks = DeploymentHooks("web", post=post)  # type: ignore[arg-type]
    hooks.ask(declared, BEFORE)
    late = hooks.ask(declared, replace(BEFORE, change="c2"))
    eventually(lambda: ids == ["c1.before"], 30)
    threading.Timer(0.2, may_answer.set).start()
    assert asked(late).result is Result.DROPPED
    hooks.close()
    assert ids == ["c1.before"]


def test_nobody_declared_is_nobody_told() -> None:
    hooks = DeploymentHooks("web")
    hooks.tell(Hooks(), AFTER)
    assert hooks.figures().results == {}
    hooks.close()


def test_what_an_earlier_controller_noted_stays_until_there_is_news() -> None:
    first, second = DeploymentHooks("web"), DeploymentHooks("web")
    declared = Hooks(after_command=("/no/such/program",))
    first.tell(declared, AFTER)
    eventually(first.notes, 30)
    second.remember(first.notes())
    assert second.notes() == first.notes()
    first.close()


def test_a_lane_goes_on_after_a_job_that_failed() -> None:
    done: list[int] = []
    lane = Lane("of a test")

    def fail() -> None:
        raise ZeroDivisionError

    jobs: list[Callable[[], None]] = [fail, lambda: done.append(1), lambda: done.append(2)]
    assert all(lane.put(job) for job in jobs)
    eventually(lambda: done == [1, 2], 30)
    assert lane.stop() == []
    assert not lane.put(fail)
    lane.join(60)
