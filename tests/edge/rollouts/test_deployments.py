"""Layers are made, changed, listed and deleted by name; what cannot be is refused."""

import math
import re
from pathlib import Path

import pytest

from edge.errors import ConflictError, InvalidSpecError, NotFoundError
from edge.hub.deployment_rules import check_layer
from edge.layering import Layer
from edge.messages.desired import Limits, Probe, Restart, Settings, Update, Window
from tests.edge.rollouts.small_hub import NEW, SmallHub, module


def test_a_layer_is_made_shown_changed_and_deleted(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a", "b"])
    layer = Layer("one", 'name == "a"', modules=(module(),))
    assert hub.deployments.create(layer, by="ann") == ["a"]
    with pytest.raises(ConflictError, match="there is a deployment one already"):
        hub.deployments.create(layer, by="ann")
    shown = hub.deployments.show("one")
    assert (shown.layer, shown.devices, shown.changed_by) == (layer, 1, "ann")
    assert hub.deployments.all() == [shown]
    assert hub.deployments.delete("one", by="bob") == ["a"]
    assert hub.deployments.all() == []
    desired = hub.desired("a")
    assert desired is not None
    assert desired.modules == ()
    notes = [(entry.who, entry.what, entry.note) for entry in hub.deployments.ledger(layer="one")]
    assert notes == [
        ("ann", "created", 'digits: digits:1@000000000000; for name == "a"; priority 0'),
        ("bob", "deleted", ""),
    ]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    deployments = SmallHub(tmp_path, []).deployments
    with pytest.raises(NotFoundError):
        deployments.show("x")
    with pytest.raises(NotFoundError):
        deployments.delete("x", by="ann")
    with pytest.raises(NotFoundError):
        deployments.device("x")


def test_a_device_is_told_with_the_layers_that_its_modules_are_from(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    hub.deployments.put(Layer("base", modules=(module("x"), module("y"))), by="ann")
    hub.deployments.put(Layer("mine", device="a", modules=(module("y", digest=NEW),)), by="ann")
    view = hub.deployments.device("a")
    assert view.sources == {"x": "base", "y": "mine"}
    assert (view.version, view.error) == (2, None)


def layer(**other: object) -> Layer:
    return Layer("x", modules=(module(**other),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Layer("X"), "cannot name a layer"),
        (Layer("../x"), "cannot name a layer"),
        (Layer("x", "site ="), "condition, column"),
        (Layer("x", device="no/device"), "cannot name a device"),
        (Layer("x", priority=10**9), "priority"),
        (Layer("x", modules=(module(), module())), "names a module twice"),
        (Layer("x", modules=(module(),), removed=("digits",)), "names a module twice"),
        (Layer("x", removed=("/",)), "cannot name a module"),
        (Layer("x", modules=tuple(module(f"m{i}") for i in range(101))), "more than 100"),
        (
            Layer("x", modules=(module("a", port=80), module("b", port=80))),
            "a and b both want port 80",
        ),
        (Layer("x", settings=Settings(report_s=math.nan)), "report_s is 1 to 86400, not nan"),
        (Layer("x", settings=Settings(pull_windows=(Window(1, 1),))), "never opens"),
        (layer(name="a/b"), "cannot name a module"),
        (layer(name="a\nb"), "cannot name a module"),
        (layer(image=""), "names no image"),
        (layer(image="a b"), "names no image"),
        (layer(digest="sha256:12"), "its digest is not"),
        (layer(digest="latest"), "its digest is not"),
        (layer(port=0), "a port is 1 to 65535"),
        (layer(port=70000), "a port is 1 to 65535"),
        (layer(address="everywhere"), "is no address"),
        (layer(env={"A=B": "x"}), "cannot name a variable"),
        (layer(env={"A": "x\0y"}), "or no text"),
        (layer(env={"A": "\ud800"}), "or no text"),
        (layer(env={"A": "x" * 5000}), "longer than 4096"),
        (layer(args=("x" * 4000,) * 9), "larger than 32768"),
        (layer(limits=Limits(memory_bytes=1)), "too little"),
        (layer(limits=Limits(cpus=-1.0)), "cpus is 0.01"),
        (layer(limits=Limits(processes=0)), "processes is 1"),
        (layer(restart=Restart(backoff_s=0.0)), "restart.backoff_s"),
        (layer(restart=Restart(backoff_s=9.0, max_backoff_s=1.0)), "restart.max_backoff_s"),
        (layer(probe=Probe(path="readyz")), "probe.path"),
        (layer(probe=Probe(interval_s=math.inf)), "probe.interval_s"),
        (layer(update=Update(windows=(Window(0, 9999),))), "within a day"),
        (layer(update=Update(latency_factor=0.5)), "update.latency_factor"),
        (layer(update=Update(shadow_agreement=2.0)), "update.shadow_agreement"),
        (layer(order=10**9), "an order is"),
    ],
)
def test_a_layer_that_a_device_could_only_fail_at_is_refused(bad: Layer, says: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(says)) as refusal:
        check_layer(bad)
    assert "\n" not in str(refusal.value)


def test_a_refused_layer_changes_nothing(tmp_path: Path) -> None:
    hub = SmallHub(tmp_path, ["a"])
    with pytest.raises(InvalidSpecError):
        hub.deployments.put(layer(port=0), by="ann")
    assert hub.deployments.all() == []
    assert hub.deployments.ledger() == []
