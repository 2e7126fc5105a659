"""A rollout goes on when its devices succeed, and stops when they do not: in pure code."""

from dataclasses import replace as changed

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.errors import ConflictError
from edge.hub.rollout_policy import Policy
from edge.hub.rollout_states import MOVES, Member, Rollout, rank, spec_for
from edge.hub.rollout_steps import Seen, Step, observed, step
from edge.messages.reported import Health, ModuleReport, Phase
from tests.edge.rollouts.small_hub import NEW, NEWER, OLD, module

NEW_MODULE = module(image="digits:2", digest=NEW)
GOOD = ModuleReport("digits", "digits:2", NEW, NEW, "idle", "healthy")


def rollout(**policy: object) -> Rollout:
    its = Policy(**policy)  # type: ignore[arg-type]
    return Rollout(7, "all", "digits", module(), NEW_MODULE, its, "ann", 0, 0)


def names(count: int) -> list[str]:
    return [f"d{index}" for index in range(count)]


def report(phase: Phase = "idle", health: Health = "healthy", digest: str = NEW) -> ModuleReport:
    return ModuleReport("digits", "digits:2", digest, NEW, phase, health)


def seen(its: ModuleReport | None = GOOD, **other: object) -> Seen:
    return Seen(desired_version=5, applied_version=5, report=its, **other)  # type: ignore[arg-type]


class Play:
    """Steps, one after another."""

    def __init__(self, start: Rollout, count: int) -> None:
        self.rollout = start
        self.members: tuple[Member, ...] = tuple(Member(name) for name in names(count))
        self.now_ms = 0
        self.seen = {name: Seen() for name in names(count)}

    def step(self, after_s: float = 1.0) -> Step:
        self.now_ms += int(after_s * 1000)
        after = step(self.rollout, self.members, self.seen, self.now_ms)
        self.rollout, self.members = after.rollout, after.members
        return after

    def answer(self, devices: tuple[str, ...], its: ModuleReport = GOOD) -> None:
        for name in devices:
            self.seen[name] = seen(its)

    def outcomes(self) -> list[str]:
        return sorted(member.outcome for member in self.members)


def test_batches_follow_each_other_when_their_devices_succeed() -> None:
    play = Play(rollout(batches=("1", "30%", "100%")), 10)
    sizes = []
    while play.rollout.state == "running":
        exposed = play.step().exposed
        sizes.append(len(exposed))
        play.answer(exposed)
    assert sizes == [1, 2, 7, 0]
    assert play.rollout.state == "completed"
    assert play.outcomes() == ["succeeded"] * 10


def test_nothing_happens_while_devices_are_on_their_way() -> None:
    play = Play(rollout(batches=("2", "100%")), 10)
    play.answer(play.step().exposed[:1])
    play.step()
    again = play.step()
    assert (again.exposed, again.events) == ((), ())
    assert again.rollout.batch == 0


def test_the_order_is_the_same_each_time_and_another_for_each_rollout() -> None:
    first = Play(rollout(batches=("5",)), 50).step().exposed
    assert Play(rollout(batches=("5",)), 50).step().exposed == first
    other = Play(replace(rollout(batches=("5",)), id=8), 50).step().exposed
    assert set(other) != set(first)
    assert list(first) == sorted(names(50), key=lambda name: rank(7, name))[:5]


@pytest.mark.parametrize(
    ("on_failure", "state"),
    [("roll back", "rolling back"), ("stop", "aborted"), ("pause", "paused")],
)
def test_a_batch_that_fails_stops_it(on_failure: str, state: str) -> None:
    play = Play(rollout(batches=("1", "100%"), on_failure=on_failure), 10)
    play.answer(play.step().exposed, report("failed", digest=OLD))
    after = play.step()
    assert after.rollout.state == state
    assert after.rollout.reason == "1 of 1 devices of batch 1 failed, and 98 % must succeed"
    assert after.exposed == ()


def test_a_batch_stops_before_its_end_once_it_cannot_succeed() -> None:
    play = Play(rollout(batches=("10", "100%"), success_percent=80.0, abort_percent=100.0), 40)
    exposed = play.step().exposed
    play.answer(exposed[:2], report("failed"))
    assert play.step().rollout.state == "running"
    play.answer(exposed[:3], report("failed"))
    assert play.step().rollout.state == "rolling back"


def test_a_batch_with_as_many_failures_as_are_allowed_goes_on() -> None:
    play = Play(rollout(batches=("10", "100%"), success_percent=80.0, abort_percent=100.0), 40)
    exposed = play.step().exposed
    play.answer(exposed[:2], report("failed"))
    play.answer(exposed[2:])
    assert len(play.step().exposed) == 30


def test_failures_of_all_batches_together_abort() -> None:
    policy = Policy(
        batches=("10", "100%"), success_percent=1.0, abort_percent=10.0, abort_minimum=20
    )
    play = Play(replace(rollout(), policy=policy), 100)
    first = play.step().exposed
    play.answer(first[:3], report("failed"))
    play.answer(first[3:])
    second = play.step().exposed
    assert len(second) == 90  # 3 of 10 are 30 %, and fewer than 20 devices
    play.answer(second[:6], report("failed"))
    assert play.step().rollout.state == "running"  # 9 of 100
    play.answer(second[:7], report("failed"))
    assert play.step().rollout.state == "rolling back"
    assert play.rollout.reason == "10 of 100 exposed devices failed: 10.0 %, and 10 % stop it"


def test_at_once_bounds_how_many_are_on_their_way() -> None:
    play = Play(rollout(batches=("100%",), at_once="3"), 10)
    sizes = []
    while play.rollout.state == "running":
        exposed = play.step().exposed
        sizes.append(len(exposed))
        play.answer(exposed[:2])
        if len(sizes) == 2:
            play.answer(tuple(names(10)))
    assert sizes[:2] == [3, 2]
    assert sum(sizes) == 10
    assert max(sizes) <= 3


def test_a_device_that_does_nothing_fails_by_its_timeout() -> None:
    play = Play(rollout(batches=("1", "100%"), timeout_s=60.0), 5)
    play.step()
    assert play.step(59.9).rollout.state == "running"
    after = play.step(0.2)
    assert after.rollout.state == "rolling back"
    assert [event.note for event in after.events if event.what == "timed out"] == [
        "timed out: it reports no such module"
    ]


def test_an_offline_device_waits_for_its_timeout_or_is_passed_over() -> None:
    for is_skipping in (False, True):
        play = Play(rollout(batches=("1", "100%"), skip_offline=is_skipping), 4)
        first = min(play.seen, key=lambda name: rank(7, name))
        play.seen[first] = Seen(is_online=False)
        assert (first in play.step().exposed) is not is_skipping


def test_devices_passed_over_get_it_when_it_is_through() -> None:
    play = Play(rollout(batches=("1", "100%"), skip_offline=True), 4)
    play.seen["d2"] = Seen(is_online=False)
    for _ in range(5):
        play.answer(play.step().exposed)
    assert play.rollout.state == "completed"
    assert play.outcomes() == ["skipped", "succeeded", "succeeded", "succeeded"]


def test_with_all_offline_nothing_is_taken_for_a_success() -> None:
    play = Play(rollout(batches=("1", "100%"), skip_offline=True), 4)
    play.seen = dict.fromkeys(play.seen, Seen(is_online=False))
    for _ in range(3):
        play.step()
    assert (play.rollout.state, play.rollout.batch) == ("running", 0)


def test_a_late_failure_counts_while_it_soaks() -> None:
    play = Play(rollout(batches=("2", "100%"), soak_s=100.0), 10)
    exposed = play.step().exposed
    play.answer(exposed)
    assert play.step().rollout.batch == 0
    assert play.step(98.0).rollout.batch == 0
    play.answer(exposed[:1], report(health="unhealthy"))
    assert play.step().rollout.state == "rolling back"


def test_after_soaking_it_goes_on() -> None:
    play = Play(rollout(batches=("2", "100%"), soak_s=100.0), 10)
    play.answer(play.step().exposed)
    play.step()
    assert len(play.step(100.0).exposed) == 8


def test_a_device_that_is_gone_is_made_up_for() -> None:
    play = Play(rollout(batches=("2", "100%")), 10)
    exposed = play.step().exposed
    del play.seen[exposed[0]]
    play.seen[exposed[1]] = Seen(has_new=False)
    after = play.step()
    assert len(after.exposed) == 2
    assert play.outcomes().count("gone") == 2


def test_a_device_whose_state_cannot_be_has_failed() -> None:
    play = Play(rollout(batches=("1", "100%")), 3)
    exposed = play.step().exposed
    play.seen[exposed[0]] = Seen(has_new=False, error="a and b both want port 80")
    assert play.step().rollout.state == "rolling back"


def test_a_rollout_of_no_device_is_through_at_once() -> None:
    assert Play(rollout(), 0).step().rollout.state == "completed"


def test_a_paused_rollout_observes_and_exposes_nothing() -> None:
    play = Play(rollout(batches=("1", "100%")), 5)
    exposed = play.step().exposed
    play.rollout = play.rollout.moved("pause", play.now_ms)
    play.answer(exposed)
    after = play.step()
    assert after.rollout.state == "paused"
    assert after.exposed == ()
    assert play.outcomes().count("succeeded") == 1


def test_a_roll_back_ends_when_the_devices_have_what_they_had() -> None:
    play = Play(rollout(batches=("2", "100%")), 5)
    exposed = play.step().exposed
    play.rollout = play.rollout.moved("roll back", play.now_ms)
    old = ModuleReport("digits", "digits:1", OLD, OLD, "idle", "healthy")
    play.answer(exposed[:1], old)
    assert play.step().rollout.state == "rolling back"
    play.answer(exposed[1:], old)
    assert play.step().rollout.state == "rolled back"


def test_a_roll_back_does_not_wait_for_ever() -> None:
    play = Play(rollout(batches=("2", "100%"), timeout_s=60.0), 5)
    play.step()
    play.rollout = play.rollout.moved("roll back", play.now_ms)
    after = play.step(60.0)
    assert after.rollout.state == "rolled back"
    assert after.rollout.reason == "2 devices have not confirmed it"


EXPOSED = Member("d0", "exposed", exposed_ms=0, version=5, batch=0)
SUCCEEDED = replace(EXPOSED, outcome="succeeded")
LATE = replace(EXPOSED, outcome="timed out")
FAILED = replace(EXPOSED, outcome="failed")


@pytest.mark.parametrize(
    ("member", "what", "outcome"),
    [
        (EXPOSED, seen(), "succeeded"),
        (EXPOSED, changed(seen(), desired_version=4), "exposed"),
        (EXPOSED, seen(report("failed", digest=OLD)), "failed"),
        (EXPOSED, seen(report("watching")), "exposed"),
        (EXPOSED, seen(report("idle", "starting")), "exposed"),
        (EXPOSED, seen(report("idle", "unhealthy")), "exposed"),
        (EXPOSED, seen(ModuleReport("digits", "x", OLD, OLD, "idle", "healthy")), "exposed"),
        (EXPOSED, seen(ModuleReport("digits", "x", OLD, OLD, "failed", "healthy")), "exposed"),
        (EXPOSED, seen(None), "exposed"),
        (SUCCEEDED, seen(report("idle", "unhealthy")), "failed"),
        (SUCCEEDED, seen(report("failed")), "failed"),
        (SUCCEEDED, seen(report("idle", "starting")), "succeeded"),
        (SUCCEEDED, seen(None), "succeeded"),
        (LATE, seen(), "succeeded"),
        (LATE, seen(None), "timed out"),
        (FAILED, seen(None), "failed"),
        (EXPOSED, None, "gone"),
        (Member("d0"), seen(), "pending"),
    ],
)
def test_the_outcome_follows_what_the_device_says(
    member: Member, what: Seen | None, outcome: str
) -> None:
    assert observed(rollout(), member, what, 1)[0] == outcome


def test_a_change_that_keeps_the_image_counts_once_it_is_applied() -> None:
    start = replace(rollout(), new=module(image="digits:1", digest=NEW, env={"A": "1"}))
    start = replace(start, old=module(digest=NEW))
    before = changed(seen(), applied_version=4)
    assert observed(start, EXPOSED, before, 1)[0] == "exposed"
    assert observed(start, EXPOSED, seen(), 1)[0] == "succeeded"


@pytest.mark.parametrize(
    ("state", "member", "digest"),
    [
        ("running", None, OLD),
        ("running", Member("d"), OLD),
        ("running", EXPOSED, NEW),
        ("paused", EXPOSED, NEW),
        ("aborted", EXPOSED, NEW),
        ("aborted", Member("d"), OLD),
        ("rolling back", EXPOSED, OLD),
        ("rolled back", EXPOSED, OLD),
        ("rolled back", replace(EXPOSED, base=module(digest=NEWER)), NEWER),
        ("running", Member("d", base=module(digest=NEWER)), NEWER),
        ("superseded", EXPOSED, OLD),
        ("completed", replace(EXPOSED, base=module(digest=NEWER)), OLD),
    ],
)
def test_what_a_device_runs_in_each_state(state: str, member: Member | None, digest: str) -> None:
    start = replace(rollout(), state=state)
    spec = spec_for(start, member, module())
    assert spec is not None
    assert spec.digest == digest


def test_a_move_that_there_is_not_changes_nothing() -> None:
    for (state, action), after in MOVES.items():
        assert replace(rollout(), state=state).moved(action, 1).state == after
    with pytest.raises(ConflictError, match="rollout 7 is superseded: it cannot resume"):
        replace(rollout(), state="superseded").moved("resume", 1)


REPORTS = st.sampled_from(
    [GOOD, report("failed", digest=OLD), report("pulling", digest=OLD), report("idle", "unhealthy")]
)


@given(st.data(), st.integers(1, 30), st.sampled_from([None, "2", "20%"]), st.booleans())
def test_whatever_devices_say_it_ends_and_exposes_no_more_than_the_batch(
    data: st.DataObject, count: int, at_once: str | None, is_skipping: bool
) -> None:
    start = rollout(
        batches=("1", "20%", "50%"), at_once=at_once, skip_offline=is_skipping, timeout_s=10.0
    )
    play = Play(start, count)
    for _ in range(200):
        if play.rollout.state not in ("running", "rolling back"):
            break
        after = play.step(data.draw(st.sampled_from([1.0, 4.0])))
        bound = [1, -(-count // 5), -(-count // 2), count][after.rollout.batch]
        assert sum(member.exposed_ms is not None for member in play.members) <= max(1, bound)
        if at_once is not None:
            on_the_way = sum(member.outcome == "exposed" for member in play.members)
            assert on_the_way <= max(1, 2 if at_once == "2" else -(-count // 5))
        for name in after.exposed:
            play.seen[name] = seen(data.draw(REPORTS))
    assert play.rollout.state in ("completed", "rolled back")
