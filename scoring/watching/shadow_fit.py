"""Whether a second model can be asked what the first was asked. Pure.

misfit(primary.signature, shadow.signature)      # None, or what does not fit
"""

from __future__ import annotations

from collections.abc import Sequence

from scoring.signature import Dim, Signature, TensorSpec

Shape = tuple[Dim, ...] | None


def misfit(primary: Signature, shadow: Signature) -> str | None:
    """Why the shadow cannot take every request that the primary takes, or why their outputs
    cannot be compared: one line about the first name where they differ; None when all fits.

    Outputs may differ in precision (float16 against float32), not in names or sizes."""
    needed, known = _by_name(shadow.inputs), _by_name((*shadow.inputs, *shadow.optional_inputs))
    given = _by_name(primary.inputs)
    for name in given | needed:
        if name not in known or name not in given:
            return _missing("input", name, name in given)
        ours, theirs = given[name], known[name]
        if ours.dtype != theirs.dtype or ours.is_sequence != theirs.is_sequence:
            return _differs("input", ours, theirs)
        if not _takes(theirs.shape, ours.shape):
            return _differs("input", ours, theirs)
    answered, compared = _by_name(primary.outputs), _by_name(shadow.outputs)
    for name in answered | compared:
        if name not in compared or name not in answered:
            return _missing("output", name, name in answered)
        if not _may_equal(answered[name].shape, compared[name].shape):
            return _differs("output", answered[name], compared[name])
    return None


def _by_name(specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}


def _missing(kind: str, name: str, is_primarys: bool) -> str:
    has, lacks = ("the model", "the shadow") if is_primarys else ("the shadow", "the model")
    return f"{has} has the {kind} '{name}', {lacks} has none of that name"


def _differs(kind: str, ours: TensorSpec, theirs: TensorSpec) -> str:
    return f"the {kind} '{ours.name}' is {ours} in the model and {theirs} in the shadow"


def _takes(shape: Shape, given: Shape) -> bool:
    """Whether all that fits ``given`` fits ``shape`` (a name is any size)."""
    if shape is None:
        return True
    if given is None or len(given) != len(shape):
        return False
    pairs = zip(shape, given, strict=True)
    return all(not isinstance(want, int) or want == have for want, have in pairs)


def _may_equal(first: Shape, second: Shape) -> bool:
    if first is None or second is None:
        return True
    return len(first) == len(second) and all(
        not (isinstance(a, int) and isinstance(b, int)) or a == b
        for a, b in zip(first, second, strict=True)
    )
