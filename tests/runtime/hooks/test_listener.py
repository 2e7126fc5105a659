from __future__ import annotations

from dataclasses import dataclass, field, replace

from registry.deployments import Hooks
from registry.errors import WorkspaceDamagedError
from runtime.autoscale.change import Before, Outcome, after
from runtime.autoscale.decision import Cause
from runtime.hooks.exchange import Reply
from runtime.hooks.listener import HookListener
from runtime.hooks.running import DeploymentHooks
from tests.runtime.deployments.waiting import eventually
from tests.runtime.hooks.test_gate import change

URL = "http://ops.example/"
UP = replace(change("c1", 2, 4), cause=Cause.MORE)


@dataclass
class World:
    """``says``: what each try is answered, None for never within the time."""

    says: list[Reply | None]
    hooks: Hooks = field(default_factory=lambda: Hooks(before_webhook=URL, after_webhook=URL))
    now_s: float = 100.0
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.running = DeploymentHooks("web", post=self.post)
        self.listener = HookListener(
            "web", hooks=self.running, declared=lambda: self.hooks, clock=lambda: self.now_s
        )

    def post(self, url: str, body: bytes, headers: object, timeout_s: float) -> Reply:
        assert isinstance(headers, dict)
        self.ids.append(headers["Webhook-Id"])
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if said is None:
            raise TimeoutError
        return said

    def until(self, what: Before, *, may_begin: bool) -> None:
        """Asked until it says so; the last answer is in by then."""
        eventually(lambda: self.listener.begins(what) == may_begin, 30)


def test_without_hooks_it_begins_at_once_and_is_counted() -> None:
    world = World([Reply(200)], hooks=Hooks())
    assert world.listener.begins(UP)
    assert world.listener.begins(replace(UP, from_replicas=4, to_replicas=1))
    assert world.listener.figures().begun == {("more", "up"): 1, ("more", "down"): 1}
    world.listener.ended(after(UP, Outcome.DONE, at_unix_s=1, ready_replicas=4, took_s=1))
    world.listener.ended(after(UP, Outcome.DONE, at_unix_s=1, ready_replicas=4, took_s=1))
    assert world.listener.figures().ended == {"done": 1}
    assert world.ids == []


def test_before_and_after_are_told_once_each() -> None:
    world = World([Reply(200)])
    assert not world.listener.begins(UP)
    assert world.listener.waits() == "2 -> 4 replicas: waits for the hook before it"
    world.until(UP, may_begin=True)
    assert world.listener.waits() is None
    world.listener.ended(after(UP, Outcome.DONE, at_unix_s=1, ready_replicas=4, took_s=1))
    eventually(lambda: len(world.ids) == 2, 30)
    world.listener.close()
    assert world.ids == ["c1.before", "c1.after"]


def test_what_is_put_off_says_so_and_is_asked_with_another_id() -> None:
    world = World([Reply(409, b"a backup runs"), Reply(200)])
    assert not world.listener.begins(UP)
    eventually(lambda: (world.listener.begins(UP), "put off" in (world.listener.waits() or ""))[1])
    assert world.listener.waits() == (
        "2 -> 4 replicas: put off by the hook before it: a backup runs"
    )
    assert not world.listener.begins(UP)
    world.now_s += 31
    assert not world.listener.begins(UP)
    world.until(UP, may_begin=True)
    world.listener.close()
    assert world.ids == ["c1.before", "c1.before.2"]
    assert world.listener.figures().begun == {("more", "up"): 1}


def test_a_broken_receiver_stops_nothing() -> None:
    for broken in (None, Reply(404), Reply(302)):
        world = World([broken], hooks=Hooks(before_webhook=URL, timeout_s=0.5))
        world.until(UP, may_begin=True)
        world.listener.close()


def test_who_is_taken_away_is_not_waited_for() -> None:
    world = World([Reply(409)])
    assert not world.listener.begins(UP)
    world.hooks = Hooks()
    assert world.listener.begins(UP)
    world.listener.close()


def test_a_held_request_does_not_wait_for_a_hook() -> None:
    world = World([Reply(409)])
    assert world.listener.begins(change("c2", 0, 1))
    eventually(lambda: world.ids == ["c2.before"], 30)
    world.listener.close()


def test_a_workspace_that_cannot_be_read_is_no_reason_to_stop() -> None:
    world = World([Reply(200)])

    def declared() -> Hooks:
        raise WorkspaceDamagedError("no sky")

    listener = HookListener("web", hooks=world.running, declared=declared)
    assert listener.begins(UP)
    listener.close()
