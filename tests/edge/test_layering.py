"""Layers, one above the other, give what one device runs: the same whatever their order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidSpecError
from edge.layering import Composed, Layer, compose, port_conflict, with_variants
from edge.messages.desired import Module, Settings, Variant, Window

DIGEST = "sha256:" + "a" * 64


def module(name: str, image: str = "digits:1", **other: object) -> Module:
    return Module(name, image, DIGEST, **other)  # type: ignore[arg-type]


def images(composed: Composed) -> dict[str, str]:
    return {each.name: each.image for each in composed.modules}


def test_no_layer_gives_nothing() -> None:
    assert compose("d", {}, []) == Composed((), Settings(), {})


def test_a_layer_counts_only_where_its_condition_holds() -> None:
    layers = [
        Layer("berlin", 'site == "berlin"', modules=(module("a"),)),
        Layer("paris", 'site == "paris"', modules=(module("b"),)),
    ]
    assert images(compose("d", {"site": "paris"}, layers)) == {"b": "digits:1"}


def test_the_higher_priority_wins_for_each_module_by_itself() -> None:
    layers = [
        Layer("all", modules=(module("a", "a:1"), module("b", "b:1"))),
        Layer("some", priority=5, modules=(module("b", "b:2"),)),
    ]
    composed = compose("d", {}, layers)
    assert images(composed) == {"a": "a:1", "b": "b:2"}
    assert composed.sources == {"a": "all", "b": "some"}


def test_a_device_of_its_own_wins_over_every_priority() -> None:
    layers = [
        Layer("all", priority=1000, modules=(module("a", "a:1"),)),
        Layer("mine", device="d", priority=-5, modules=(module("a", "a:2"),)),
    ]
    assert images(compose("d", {}, layers)) == {"a": "a:2"}
    assert images(compose("e", {}, layers)) == {"a": "a:1"}


def test_of_equal_priorities_the_first_name_wins() -> None:
    layers = [
        Layer("x", modules=(module("a", "x:1"),)),
        Layer("b", modules=(module("a", "b:1"),)),
    ]
    assert (
        images(compose("d", {}, layers)) == images(compose("d", {}, layers[::-1])) == {"a": "b:1"}
    )


def test_a_layer_takes_a_module_away_from_lower_ones_only() -> None:
    layers = [
        Layer("base", modules=(module("a"), module("b"))),
        Layer("less", priority=1, removed=("a", "b")),
        Layer("more", priority=2, modules=(module("b", "b:9"),)),
    ]
    composed = compose("d", {}, layers)
    assert images(composed) == {"b": "b:9"}
    assert composed.sources == {"b": "more"}


def test_settings_are_merged_one_by_one() -> None:
    layers = [
        Layer("low", settings=Settings(report_s=60.0, bytes_per_day=1)),
        Layer("high", priority=1, settings=Settings(bytes_per_day=2, pull_windows=(Window(0, 9),))),
    ]
    expected = Settings(report_s=60.0, bytes_per_day=2, pull_windows=(Window(0, 9),))
    assert compose("d", {}, layers).settings == expected


@pytest.mark.parametrize(
    ("first", "second", "conflicts"),
    [
        ("0.0.0.0", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "::", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
    ],
)
def test_two_modules_at_one_port_are_an_error(first: str, second: str, conflicts: bool) -> None:
    modules = [module("a", port=80, address=first), module("b", port=80, address=second)]
    assert port_conflict(modules) == ("a and b both want port 80" if conflicts else None)


def test_a_conflict_across_layers_is_told_and_one_that_is_overridden_is_none() -> None:
    layers = [
        Layer("one", modules=(module("a", port=80),)),
        Layer("two", modules=(module("b", port=80),)),
    ]
    assert compose("d", {}, layers).error == "a and b both want port 80"
    layers.append(Layer("three", priority=1, modules=(module("b", port=81),)))
    assert compose("d", {}, layers).error is None


def test_a_condition_that_is_none_is_an_error() -> None:
    with pytest.raises(InvalidSpecError):
        compose("d", {}, [Layer("x", "site =")])


NAMES = st.sampled_from("abcd")
LAYERS = st.lists(
    st.builds(
        Layer,
        NAMES,
        priority=st.integers(0, 2),
        device=st.sampled_from([None, "d", "e"]),
        modules=st.lists(st.builds(module, NAMES, NAMES), unique_by=lambda m: m.name).map(tuple),
        removed=st.lists(NAMES, max_size=1).map(tuple),
    ),
    unique_by=lambda layer: layer.name,
)


@given(LAYERS, st.randoms(use_true_random=False))
def test_the_order_of_layers_means_nothing(layers: list[Layer], random: object) -> None:
    shuffled = list(layers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compose("d", {}, shuffled) == compose("d", {}, layers)


def test_the_first_condition_that_is_met_chooses_the_image() -> None:
    variants = (
        Variant('board == "pynq-z2" and site == "berlin"', "berlin:1", DIGEST),
        Variant('board == "pynq-z2"', "fpga:1", DIGEST),
        Variant("all", "never:1", DIGEST),
    )
    layers = [Layer("all", modules=(module("a", variants=variants[:2]),))]
    assert images(compose("d", {}, layers)) == {"a": "digits:1"}
    assert images(compose("d", {"board": "pynq-z2"}, layers)) == {"a": "fpga:1"}
    both = {"board": "pynq-z2", "site": "berlin"}
    assert images(compose("d", both, layers)) == {"a": "berlin:1"}
    (told,) = compose("d", both, layers).modules
    assert told == module("a", "berlin:1")


def test_a_variant_takes_the_place_of_the_one_of_its_condition() -> None:
    one, two = Variant("x", "x:1", DIGEST), Variant("y", "y:1", DIGEST)
    made = with_variants(module("a", variants=(one, two)), [Variant("x", "x:2", DIGEST)])
    assert [each.image for each in made.variants] == ["x:2", "y:1"]
    assert with_variants(made, []) == made
