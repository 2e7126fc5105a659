"""A rollout on the hub's database: from start to end, in every way that it can go."""

from pathlib import Path

import pytest
from msgspec import structs

from edge.errors import ConflictError, InvalidSpecError, NotFoundError
from edge.hub import devices, rollout_rows
from edge.hub.rollout_engine import RolloutEngine
from edge.hub.rollout_policy import Policy
from edge.layering import Layer
from edge.messages.desired import Module
from tests.edge.rollouts.small_hub import NEW, NEWER, OLD, SmallHub, module

NAMES = [f"d{index}" for index in range(10)]
TWO_THEN_ALL = Policy(batches=("2", "100%"))


@pytest.fixture
def hub(tmp_path: Path) -> SmallHub:
    hub = SmallHub(tmp_path, NAMES)
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    for name in NAMES:
        hub.report(name)
    return hub


def start(hub: SmallHub, digest: str = NEW, policy: Policy = TWO_THEN_ALL) -> int:
    image = f"digits:{int(digest[-1]) + 1}"
    return hub.rollouts.start(
        "all", "digits", image=image, digest=digest, by="bob", policy=policy
    ).id


def stored(hub: SmallHub) -> Module:
    return hub.deployments.show("all").layer.modules[0]


def test_a_good_version_reaches_all_and_is_the_layers_from_then_on(hub: SmallHub) -> None:
    id = start(hub)
    assert hub.with_digest(NEW, NAMES) == []
    first = hub.tick()
    assert len(first) == 2
    assert hub.with_digest(NEW, NAMES) == sorted(first)
    assert hub.tick() == []
    for name in first:
        hub.report(name)
    second = hub.tick()
    assert sorted(first + second) == NAMES
    for name in second:
        hub.report(name)
    assert hub.tick() == []
    view = hub.rollouts.show(id)
    assert (view.state, view.succeeded, view.failed, view.exposed) == ("completed", 10, 0, 10)
    assert stored(hub).digest == NEW
    assert {hub.version(name) for name in NAMES} == {2}
    assert hub.deployments.show("all").changed_by == "bob"


def test_a_bad_version_is_rolled_back_where_it_was(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    hub.report(first[0], phase="failed", digest=OLD, error="golden case 3: 0.1, not 0.9")
    assert sorted(hub.tick()) == sorted(first)
    assert hub.with_digest(OLD, NAMES) == NAMES
    assert hub.rollouts.show(id).state == "rolling back"
    for name in first:
        hub.report(name)
    hub.tick()
    assert hub.rollouts.show(id).state == "rolled back"
    assert {hub.version(name) for name in first} == {3}
    assert stored(hub).digest == OLD
    entries = hub.deployments.ledger(rollout=id)
    assert [entry.what for entry in entries] == [
        "started", "exposed", "exposed", "failed", "rolling back", "restored", "restored",
        "rolled back",
    ]  # fmt: skip
    assert entries[3].note == "golden case 3: 0.1, not 0.9"
    past = hub.deployments.history(first[0])
    assert [(each.who, each.cause) for each in past] == [
        ("ann", "deployment all"),
        ("bob", f"rollout {id} of all/digits: batch 1"),
        ("bob", f"rollout {id} of all/digits: rolling back"),
    ]


def test_an_old_report_is_no_answer_to_a_new_version(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    for name in first:
        hub.report(name, version=1)
    hub.tick()
    assert hub.rollouts.show(id).outcomes == {"exposed": 2, "pending": 8}


def test_pause_resume_and_abort(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    hub.rollouts.pause(id, by="ann", reason="lunch")
    for name in first:
        hub.report(name)
    assert hub.tick() == []
    assert hub.rollouts.show(id).succeeded == 2
    hub.rollouts.resume(id, by="ann")
    assert len(hub.tick()) == 8
    hub.rollouts.pause(id, by="ann")
    hub.rollouts.abort(id, by="ann")
    hub.tick(7200.0)
    assert hub.rollouts.show(id).state == "aborted"
    assert hub.with_digest(NEW, NAMES) == NAMES
    assert stored(hub).digest == OLD
    with pytest.raises(ConflictError, match="is aborted: it cannot resume"):
        hub.rollouts.resume(id, by="ann")
    hub.rollouts.roll_back(id, by="ann")
    assert hub.with_digest(OLD, NAMES) == NAMES


def test_one_that_was_stopped_stays_where_it_is(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    hub.rollouts.abort(id, by="ann")
    hub.enrol("late")
    hub.tick()
    assert hub.with_digest(NEW, NAMES) == sorted(first)
    assert hub.digest("late") == OLD


def test_a_threshold_pauses_it_and_resume_forgives(hub: SmallHub) -> None:
    id = start(hub, policy=Policy(batches=("2", "5", "100%"), on_failure="pause"))
    first = hub.tick()
    hub.report(first[0])
    hub.report(first[1], phase="failed", digest=OLD)
    hub.tick()
    assert hub.rollouts.show(id).state == "paused"
    hub.tick()
    hub.rollouts.resume(id, by="ann")
    second = hub.tick()
    assert len(second) == 3
    hub.report(second[0], phase="failed", digest=OLD)
    hub.tick()
    assert hub.rollouts.show(id).state == "paused"


def test_a_completed_rollout_can_be_rolled_back(hub: SmallHub) -> None:
    id = start(hub, policy=Policy(batches=("100%",)))
    for name in hub.tick():
        hub.report(name)
    hub.tick()
    hub.enrol("late")
    hub.tick()
    assert hub.digest("late") == NEW
    hub.rollouts.roll_back(id, by="ann", reason="too slow")
    assert stored(hub).digest == OLD
    assert hub.with_digest(OLD, [*NAMES, "late"]) == [*NAMES, "late"]
    for name in NAMES:
        hub.report(name)
    hub.tick()
    assert hub.rollouts.show(id).state == "rolled back"


def test_a_completed_rollout_that_something_followed_cannot_be_rolled_back(hub: SmallHub) -> None:
    id = start(hub, policy=Policy(batches=("100%",)))
    for name in hub.tick():
        hub.report(name)
    hub.tick()
    hub.deployments.put(Layer("all", modules=(module(digest=NEWER),)), by="ann")
    with pytest.raises(ConflictError, match="was changed since rollout 1"):
        hub.rollouts.roll_back(id, by="ann")


def test_a_newer_rollout_supersedes_and_nobody_changes_before_it_comes(hub: SmallHub) -> None:
    first = start(hub)
    exposed = hub.tick()
    second = start(hub, NEWER, Policy(batches=("100%",), at_once="3"))
    assert hub.rollouts.show(first).state == "superseded"
    assert hub.with_digest(NEW, NAMES) == sorted(exposed)
    at_once = hub.tick()
    assert hub.with_digest(NEWER, NAMES) == sorted(at_once)
    assert hub.with_digest(NEW, NAMES) == sorted(set(exposed) - set(at_once))
    hub.rollouts.roll_back(second, by="ann")
    assert hub.with_digest(NEW, NAMES) == sorted(exposed)
    with pytest.raises(ConflictError):
        hub.rollouts.resume(first, by="ann")


def test_what_a_roll_back_needs_is_in_use_also_when_no_layer_says_it(hub: SmallHub) -> None:
    start(hub)
    hub.tick()
    start(hub, NEWER, Policy(batches=("100%",)))
    hub.tick()
    assert hub.with_digest(NEWER, NAMES) == NAMES
    with hub.database.reader() as connection:
        digests = {each.digest for each in rollout_rows.modules_in_use(connection)}
    assert digests == {OLD, NEW, NEWER}


def test_a_list_says_what_each_one_says(hub: SmallHub) -> None:
    first = start(hub)
    exposed = hub.tick()
    hub.report(exposed[0])
    hub.rollouts.pause(first, by="ann")
    devices.remove(hub.database, exposed[1])
    hub.tick()
    second = start(hub, NEWER)
    hub.tick()
    views = [hub.rollouts.show(first), hub.rollouts.show(second)]
    assert hub.rollouts.all() == views
    assert [(view.devices, view.exposed, view.succeeded) for view in views] == [
        (9, 1, 1),
        (9, 2, 0),
    ]
    assert views[0].outcomes == {"gone": 1, "pending": 8, "succeeded": 1}


def test_a_device_that_joins_gets_the_new_version_at_the_end(hub: SmallHub) -> None:
    start(hub)
    first = hub.tick()
    hub.enrol("late")
    assert hub.tick() == ["late"]
    assert hub.digest("late") == OLD
    for name in first:
        hub.report(name)
    for name in hub.tick():
        hub.report(name)
    assert hub.tick() == ["late"]
    assert hub.digest("late") == NEW


def test_a_device_that_leaves_is_made_up_for(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    devices.remove(hub.database, first[0])
    own = Layer("own", device=first[1], modules=(module(digest=NEWER),))
    hub.deployments.put(own, by="ann")
    assert len(hub.tick()) == 2
    assert hub.rollouts.show(id).outcomes == {"gone": 2, "exposed": 2, "pending": 6}


def test_devices_that_have_the_module_from_elsewhere_are_not_in_it(hub: SmallHub) -> None:
    own = Layer("own", 'name in ("d1", "d2")', priority=1, modules=(module(digest=NEWER),))
    hub.deployments.put(own, by="ann")
    assert hub.rollouts.show(start(hub)).devices == 8


def test_a_new_module_is_rolled_out_and_rolled_back(hub: SmallHub) -> None:
    spec = module("second", "other:1", NEW, port=80)
    id = hub.rollouts.start("all", "second", spec=spec, by="bob", policy=TWO_THEN_ALL).id
    first = hub.tick()
    assert [hub.digest(name, "second") for name in first] == [NEW, NEW]
    hub.rollouts.roll_back(id, by="bob")
    assert [hub.digest(name, "second") for name in first] == [None, None]
    for name in first:
        hub.report(name)
    hub.tick()
    assert hub.rollouts.show(id).state == "rolled back"


def test_a_deployment_of_the_same_module_waits_for_the_rollout_or_ends_it(hub: SmallHub) -> None:
    id = start(hub)
    hub.tick()
    other = Layer("all", modules=(module(digest=NEWER),))
    with pytest.raises(ConflictError, match="rollout 1 of all/digits is running"):
        hub.deployments.put(other, by="ann")
    with pytest.raises(ConflictError):
        hub.deployments.delete("all", by="ann")
    wider = Layer("all", modules=(module(), module("second")))
    hub.deployments.put(wider, by="ann")
    assert len(hub.with_digest(NEW, NAMES)) == 2
    hub.deployments.put(other, by="ann", supersede=True)
    assert hub.rollouts.show(id).state == "superseded"
    assert hub.with_digest(NEWER, NAMES) == NAMES
    assert hub.tick() == []


def test_a_rollout_whose_layer_is_deleted_ends(hub: SmallHub) -> None:
    id = start(hub)
    hub.tick()
    hub.deployments.delete("all", by="ann", supersede=True)
    assert hub.tick() == []
    assert hub.rollouts.show(id).state == "superseded"
    assert hub.with_digest(OLD, NAMES) == []


def test_two_modules_are_rolled_out_side_by_side(hub: SmallHub) -> None:
    hub.deployments.put(Layer("all", modules=(module(), module("second"))), by="ann")
    first = start(hub)
    second = hub.rollouts.start(
        "all", "second", image="s:2", digest=NEW, by="bob", policy=TWO_THEN_ALL
    ).id
    assert hub.deployments.show("all").rollouts == (first, second)
    hub.tick()
    for _ in range(4):
        for name in NAMES:
            hub.report(name)
        hub.tick()
    assert [view.state for view in hub.rollouts.all()] == ["completed", "completed"]
    assert [each.digest for each in hub.deployments.show("all").layer.modules] == [NEW, NEW]


def test_members_are_told_in_the_order_in_which_they_come(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    members = hub.rollouts.members(id)
    assert {member.device for member in members[:2]} == set(first)
    assert [member.version for member in members[:3]] == [2, 2, 0]


@pytest.mark.parametrize(
    ("module_name", "image", "digest", "error"),
    [
        ("digits", "digits:2", None, InvalidSpecError),
        ("digits", "digits:2", "sha256:1", InvalidSpecError),
        ("digits", "digits:1", OLD, ConflictError),
        ("other", "digits:2", NEW, InvalidSpecError),
    ],
)
def test_a_rollout_that_cannot_be_is_refused(
    hub: SmallHub,
    module_name: str,
    image: str,
    digest: str | None,
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        hub.rollouts.start("all", module_name, image=image, digest=digest, by="bob")
    assert hub.rollouts.all() == []


def test_what_is_not_there_is_not_found(hub: SmallHub) -> None:
    with pytest.raises(NotFoundError):
        hub.rollouts.show(9)
    with pytest.raises(NotFoundError):
        hub.rollouts.start("none", "digits", image="digits:2", digest=NEW, by="bob")


def test_a_report_that_nobody_can_read_is_none(hub: SmallHub) -> None:
    start(hub)
    first = hub.tick()
    with hub.database.writer() as connection:
        connection.execute("UPDATE devices SET reported = ? WHERE name = ?", (b"{", first[0]))
    assert hub.tick() == []


def test_a_hub_that_was_away_does_not_blame_devices_for_it(hub: SmallHub) -> None:
    id = start(hub)
    first = hub.tick()
    hub.engine = RolloutEngine(hub.database)
    assert hub.tick(7200.0) == []
    for name in first:
        hub.report(name)
    assert len(hub.tick()) == 8
    assert hub.rollouts.show(id).failed == 0


def test_after_its_return_devices_do_time_out(hub: SmallHub) -> None:
    id = start(hub)
    hub.tick()
    hub.tick(7200.0)
    waited_s = 0
    while hub.rollouts.show(id).state == "running":
        hub.tick(10.0)
        waited_s += 10
        assert waited_s < 600
    assert waited_s == 120
    assert hub.rollouts.show(id).failed == 2


def test_a_rollout_that_goes_wrong_stops_no_other(hub: SmallHub) -> None:
    hub.deployments.put(Layer("other", modules=(module("second"),)), by="ann")
    policy = Policy(batches=("100%",))
    wrong = hub.rollouts.start(
        "other", "second", image="s:2", digest=NEW, by="bob", policy=policy
    ).id
    right = start(hub)
    hub.tick()
    for name in NAMES:
        hub.report(name)
    with hub.database.writer() as connection:
        connection.execute("DELETE FROM layers WHERE name = 'other'")
    with pytest.raises(NotFoundError):
        hub.tick()
    assert hub.rollouts.show(wrong).state == "running"
    assert hub.rollouts.show(right).batch == 1


def test_a_hub_that_was_away_waits_for_what_devices_have_done_meanwhile(hub: SmallHub) -> None:
    policy = Policy(batches=("100%",), timeout_s=600)
    id = hub.rollouts.start(
        "all", "digits", image="digits:2", digest=NEW, by="ann", policy=policy
    ).id
    hub.tick()
    hub.rollouts.roll_back(id, by="ann")
    hub.engine = RolloutEngine(hub.database)  # killed, and back a day later
    hub.tick(86_400)
    assert hub.rollouts.show(id).state == "rolling back"
    for name in NAMES:
        hub.report(name)
    hub.tick()
    view = hub.rollouts.show(id)
    assert (view.state, view.reason) == ("rolled back", "")
    assert all(member.is_restored for member in hub.rollouts.members(id))


def test_a_deployment_that_was_changed_meanwhile_is_not_written_over(hub: SmallHub) -> None:
    read = hub.deployments.show("all").layer
    id = hub.rollouts.start(
        "all", "digits", image="digits:2", digest=NEW, by="ann", policy=Policy(batches=("100%",))
    ).id
    hub.tick()
    for name in NAMES:
        hub.report(name)
    hub.tick()
    assert hub.rollouts.show(id).state == "completed"
    with pytest.raises(ConflictError, match="meanwhile"):
        hub.deployments.put(structs.replace(read, priority=5), by="bob", read=read)
    assert {hub.digest(name) for name in NAMES} == {NEW}
    now = hub.deployments.show("all").layer
    hub.deployments.put(structs.replace(now, priority=5), by="bob", read=now)
    with pytest.raises(ConflictError, match="meanwhile"):
        hub.deployments.put(structs.replace(now, priority=6), by="bob", read=None)
