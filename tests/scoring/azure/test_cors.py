from __future__ import annotations

import pytest

from scoring.azure.cors import Cors

ALLOW = "Access-Control-Allow-Origin"
VARY = ("Vary", "Origin")


@pytest.mark.parametrize(
    ("origins", "origin", "expected"),
    [
        ("*", None, [(ALLOW, "*")]),
        ("*", "https://a", [(ALLOW, "https://a"), VARY]),
        ("https://a", None, [(ALLOW, "https://a")]),
        ("https://a", "HTTPS://A", [(ALLOW, "HTTPS://A")]),
        ("https://a", "https://b", []),
        ("https://b, https://a", None, [(ALLOW, "https://a"), VARY]),
        ("https://b, https://a", "https://b", [(ALLOW, "https://b"), VARY]),
        (r"https://.*\.example", None, []),
        (r"https://.*\.example", "https://x.example", [(ALLOW, "https://x.example"), VARY]),
    ],
)
def test_origins(origins: str, origin: str | None, expected: list[tuple[str, str]]) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert Cors(origins).response_headers("POST", headers) == expected


def test_a_preflight_names_methods_and_headers() -> None:
    asked = {
        "origin": "https://a",
        "access-control-request-method": "post",
        "access-control-request-headers": "X-B, content-type",
    }
    assert Cors("https://a").response_headers("OPTIONS", asked) == [
        (ALLOW, "https://a"),
        ("Access-Control-Allow-Headers", "X-B, content-type"),
        ("Access-Control-Allow-Methods", "GET, POST"),
    ]


def test_a_preflight_of_another_method_names_none() -> None:
    asked = {"origin": "https://a", "access-control-request-method": "PUT"}
    assert Cors("https://a").response_headers("OPTIONS", asked) == [(ALLOW, "https://a")]


def test_a_bad_expression_is_named() -> None:
    with pytest.raises(ValueError, match="AML_CORS_ORIGINS"):
        Cors("https://[a")
