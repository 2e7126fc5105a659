from __future__ import annotations

import pytest

from scoring.azure.swagger_lookup import lookup

TWO, THREE = {"swagger": "2.0"}, {"openapi": "3.0.0"}


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ("3", THREE),
        ("3.0", THREE),
        (None, "Swagger version [2] is not supported for the scoring script. "
            "Supported swagger versions: [3, 3.1]."),
        ("9", "Swagger version [9] is not valid. Supported versions: [3, 3.1]."),
        ("", "Swagger version [] is not valid. Supported versions: [3, 3.1]."),
    ],
)  # fmt: skip
def test_lookup(requested: str | None, expected: object) -> None:
    assert lookup({"3": THREE, "3.0": THREE}, ["3.1", "3"], requested) == expected


def test_version_2_is_the_default() -> None:
    assert lookup({"2": TWO, "3": THREE}, ["2", "3"], None) == TWO
