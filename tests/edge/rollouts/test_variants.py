"""A module with an image of its own for some devices, such as those with an FPGA: one deployment,
one rollout, and each device its own image."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from edge.errors import InvalidSpecError
from edge.hub import devices, rollout_rows
from edge.hub.deployment_rules import MAX_VARIANTS, check_module
from edge.hub.rollout_policy import Policy
from edge.layering import Layer
from edge.messages.desired import Module, Variant
from runtime.edge_images import needed
from tests.edge.rollouts.small_hub import NEW, OLD, SmallHub, module

BOARD = 'board == "pynq-z2"'
OLD_FPGA, NEW_FPGA = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ON_BOARD = (Variant(BOARD, "digits-fpga:1", OLD_FPGA),)
NEW_ON_BOARD = (Variant(BOARD, "digits-fpga:2", NEW_FPGA),)
NAMES = ["pc-1", "pc-2", "z2-1", "z2-2"]
POLICY = Policy(batches=("100%",), abort_minimum=1)


@pytest.fixture
def hub(tmp_path: Path) -> SmallHub:
    """Two devices with a board, two without, all well."""
    hub = SmallHub(tmp_path, ["pc-1", "pc-2"])
    for name in ("z2-1", "z2-2"):
        hub.enrol(name, board="pynq-z2")
    hub.deployments.put(Layer("all", modules=(module(variants=ON_BOARD),)), by="ann")
    for name in NAMES:
        hub.report(name)
    return hub


def run(hub: SmallHub) -> dict[str, str | None]:
    return {name: hub.digest(name) for name in NAMES}


def start(hub: SmallHub, variants: tuple[Variant, ...] = NEW_ON_BOARD, **more: Policy) -> int:
    return hub.rollouts.start(
        "all",
        "digits",
        image="digits:2",
        digest=NEW,
        variants=variants,
        by="bob",
        policy=more.get("policy", POLICY),
    ).id


BEFORE = {"pc-1": OLD, "pc-2": OLD, "z2-1": OLD_FPGA, "z2-2": OLD_FPGA}
AFTER = {"pc-1": NEW, "pc-2": NEW, "z2-1": NEW_FPGA, "z2-2": NEW_FPGA}


def test_each_device_is_told_its_own_image_and_nothing_of_others(hub: SmallHub) -> None:
    assert run(hub) == BEFORE
    desired = hub.desired("z2-1")
    assert desired is not None
    (told,) = desired.modules
    assert (told.image, told.variants) == ("digits-fpga:1", ())
    assert b"variants" not in _stored_states(hub)
    assert hub.deployments.device("pc-1").modules[0].image == "digits:1"


def _stored_states(hub: SmallHub) -> bytes:
    with hub.database.reader() as connection:
        return b"".join(row[0] for row in connection.execute("SELECT body FROM states"))


def test_one_rollout_brings_every_device_its_own(hub: SmallHub) -> None:
    id = start(hub)
    assert sorted(hub.tick()) == NAMES
    assert run(hub) == AFTER
    for name in NAMES:
        hub.report(name)
    hub.tick()
    view = hub.rollouts.show(id)
    assert (view.state, view.succeeded, view.failed) == ("completed", 4, 0)
    assert view.new_variants == NEW_ON_BOARD
    assert hub.deployments.show("all").layer.modules[0].variants == NEW_ON_BOARD
    assert run(hub) == AFTER
    noted = [entry.note for entry in hub.deployments.ledger(rollout=id) if entry.what == "started"]
    assert "digits:2@" in noted[0]
    assert "digits-fpga:2@" in noted[0]


def test_a_board_that_refuses_brings_back_what_each_device_had(hub: SmallHub) -> None:
    id = start(hub)
    hub.tick()
    for name in ("pc-1", "pc-2", "z2-2"):
        hub.report(name)
    cause = "this image was made for simulation and cannot run on a real board"
    hub.report("z2-1", phase="failed", digest=OLD_FPGA, error=cause)
    hub.tick()
    assert hub.rollouts.show(id).state == "rolling back"
    assert run(hub) == BEFORE
    failed = {member.device: member for member in hub.rollouts.members(id)}["z2-1"]
    assert (failed.outcome, failed.error) == ("failed", cause)
    for name in ("pc-1", "z2-1", "z2-2"):
        hub.report(name)
    hub.tick()
    assert hub.rollouts.show(id).state == "rolling back"
    hub.report("pc-2")
    hub.tick()
    assert hub.rollouts.show(id).state == "rolled back"


def test_what_a_rollout_does_not_name_stays(hub: SmallHub) -> None:
    id = start(hub, variants=())
    hub.tick()
    assert run(hub) == {**BEFORE, "pc-1": NEW, "pc-2": NEW}
    for name in NAMES:
        hub.report(name)
    hub.tick()
    assert hub.rollouts.show(id).state == "completed"
    assert hub.rollouts.show(id).new_variants == ON_BOARD


def test_a_rollout_gives_a_module_its_first_variant(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["pc-1"])
    hub.enrol("z2-1", board="pynq-z2")
    hub.deployments.put(Layer("all", modules=(module(),)), by="ann")
    for name in ("pc-1", "z2-1"):
        hub.report(name)
    id = start(hub, policy=Policy(batches=("1", "100%")))
    for _ in range(2):
        (exposed,) = hub.tick()
        assert hub.digest(exposed) == AFTER[exposed]
        hub.report(exposed)
    hub.tick()
    assert hub.rollouts.show(id).state == "completed"
    hub.rollouts.roll_back(id, by="ann")
    assert [hub.digest("pc-1"), hub.digest("z2-1")] == [OLD, OLD]


def test_an_old_report_of_the_same_image_is_no_success(hub: SmallHub) -> None:
    """Where the image stays and only a setting changes, the version that was applied tells."""
    changed = structs.replace(module(variants=ON_BOARD), env={"A": "1"})
    id = hub.rollouts.start("all", "digits", spec=changed, by="bob", policy=POLICY).id
    hub.tick()
    hub.report("z2-1", version=1)
    hub.tick()
    assert hub.rollouts.show(id).succeeded == 0
    hub.report("z2-1")
    hub.tick()
    assert hub.rollouts.show(id).succeeded == 1


def test_a_device_that_gets_a_board_gets_its_image(hub: SmallHub) -> None:
    start(hub)
    hub.tick()
    devices.set_tags(hub.database, "pc-1", {"board": "pynq-z2"})
    hub.tick()
    assert hub.digest("pc-1") == NEW_FPGA


def test_all_images_are_needed(hub: SmallHub) -> None:
    start(hub)
    hub.tick()
    with hub.database.reader() as connection:
        held = {image for image, _ in needed(connection)}
        in_use = {each.variants for each in rollout_rows.modules_in_use(connection)}
    assert {"digits:1", "digits:2", "digits-fpga:1", "digits-fpga:2"} <= held
    assert {ON_BOARD, NEW_ON_BOARD} <= in_use


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ((Variant("board =", "a:1", OLD),), "condition"),
        ((Variant(BOARD, "a b", OLD),), "names no image"),
        ((Variant(BOARD, "a:1", "sha256:x"),), "digest"),
        ((Variant(BOARD, "a:1", OLD), Variant(BOARD, "b:1", OLD)), "each for another condition"),
        (
            tuple(Variant(f'b == "{n}"', "a:1", OLD) for n in range(MAX_VARIANTS + 1)),
            "up to 20",
        ),
    ],
)
def test_variants_that_cannot_be_are_refused(variants: tuple[Variant, ...], said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        check_module(Module("digits", "digits:1", OLD, variants=variants))
