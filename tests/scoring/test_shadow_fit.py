"""Which models can shadow which."""

from __future__ import annotations

import pytest

from scoring.signature import Signature, TensorSpec
from scoring.watching.shadow_fit import misfit


def spec(name: str, *shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def model(
    *inputs: TensorSpec, gives: tuple[TensorSpec, ...] = (), may: tuple[TensorSpec, ...] = ()
) -> Signature:
    return Signature(inputs, gives or (spec("y", "N"),), may)


X = spec("x", "N", 4)
PRIMARY = model(X)


@pytest.mark.parametrize(
    "shadow",
    [
        PRIMARY,
        model(spec("x", "batch", 4)),
        model(spec("x", "N", "M")),
        model(TensorSpec("x", "float32", None)),
        model(X, may=(spec("threshold"),)),
        model(may=(X,)),
        model(X, gives=(spec("y", "N", dtype="float16"),)),
        model(X, gives=(TensorSpec("y", "float32", None),)),
    ],
)
def test_what_takes_all_that_the_primary_takes_fits(shadow: Signature) -> None:
    assert misfit(PRIMARY, shadow) is None


@pytest.mark.parametrize(
    ("shadow", "said"),
    [
        (model(spec("x", "N", 5)), "the input 'x' is float32 [N,4] in the model and float32 [N,5]"),
        (model(spec("x", 1, 4)), "float32 [1,4] in the shadow"),
        (model(spec("x", "N", 4, 1)), "float32 [N,4,1] in the shadow"),
        (model(spec("x", "N", 4, dtype="float16")), "float16 [N,4] in the shadow"),
        (model(TensorSpec("x", "float32", (4,), is_sequence=True)), "a list of float32 [4]"),
        (model(spec("z", "N", 4)), "the model has the input 'x', the shadow has none"),
        (model(X, spec("z", 1)), "the shadow has the input 'z', the model has none"),
        (model(X, gives=(spec("z", "N"),)), "the model has the output 'y', the shadow has none"),
        (
            model(X, gives=(spec("y", "N"), spec("z", "N"))),
            "the shadow has the output 'z', the model has none",
        ),
        (model(X, gives=(spec("y", "N", 2),)), "the output 'y' is float32 [N] in the model and"),
    ],
)
def test_what_does_not_fit_is_named_with_both_forms(shadow: Signature, said: str) -> None:
    found = misfit(PRIMARY, shadow)
    assert found is not None
    assert said in found


def test_a_shadow_of_fixed_size_fits_a_primary_of_that_size_only() -> None:
    fixed = model(spec("x", 1, 4), gives=(spec("y", 1),))
    assert misfit(fixed, fixed) is None
    assert misfit(fixed, PRIMARY) is None
    assert misfit(PRIMARY, fixed) is not None
