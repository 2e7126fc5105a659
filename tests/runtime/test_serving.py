"""What ``inferry serve WHAT`` means."""

from __future__ import annotations

import pytest

from runtime.errors import AmbiguousTargetError, UnknownTargetError
from runtime.serving import Kind, Target, choose, explicit


@pytest.mark.parametrize(
    ("what", "target"),
    [
        ("m.onnx", Target(Kind.PATH, "m.onnx")),
        ("./digits", Target(Kind.PATH, "./digits")),
        ("/srv/b", Target(Kind.PATH, "/srv/b")),
        (".", Target(Kind.PATH, ".")),
        ("model:digits", Target(Kind.MODEL, "digits")),
        ("model:digits:3", Target(Kind.MODEL, "digits:3")),
        ("image:digits:3", Target(Kind.IMAGE, "digits:3")),
        ("digits", None),
        ("digits:3", None),
    ],
)
def test_some_forms_mean_one_thing_only(what: str, target: Target | None) -> None:
    assert explicit(what) == target


@pytest.mark.parametrize("kind", Kind)
def test_a_name_means_the_only_thing_that_has_it(kind: Kind) -> None:
    chosen = choose(
        "d", is_path=kind is Kind.PATH, is_model=kind is Kind.MODEL, is_image=kind is Kind.IMAGE
    )
    assert chosen == Target(kind, "d")


def test_a_name_of_several_things_is_refused_with_the_forms_that_tell_them_apart() -> None:
    with pytest.raises(AmbiguousTargetError) as caught:
        choose("d", is_path=True, is_model=True, is_image=True)
    assert caught.value.candidates == ["./d", "model:d", "image:d"]


def test_a_name_of_nothing_is_refused() -> None:
    with pytest.raises(UnknownTargetError, match="no file, model or image 'd'"):
        choose("d", is_path=False, is_model=False, is_image=False)
