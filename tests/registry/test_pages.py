"""Tokens of pages, and their limits."""

from __future__ import annotations

import base64
import json

import pytest

from registry.errors import InvalidNameError
from registry.pages import MAX_LIMIT, check_limit, key_of, token_of


def written(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode()


@pytest.mark.parametrize("key", [("digits", 1), ("a" * 128, 2**31 - 1), ("x", 0)])
def test_a_token_says_after_what_its_page_begins(key: tuple[str, int]) -> None:
    token = token_of("models", *key)
    assert key_of("models", token) == key
    assert token.replace("-", "").replace("_", "").isalnum()  # goes into an address as it is


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "1-1000",  # of a search of runs
        "é",
        "\udcff",
        "A" * 10_000_000,
        "W" * 601,
        token_of("images", "digits", 1),  # of another list
        token_of("models", "digits", 1) + "=",
        token_of("models", "digits", 1)[:-3],
        written("models", "digits"),
        written("models", "digits", 1, 2),
        written("models", 1, 1).rstrip("="),
        written("models", ["digits"], 1).rstrip("="),
        written("models", "digits", "1").rstrip("="),
        written("models", "digits", True).rstrip("="),
        written("models", "digits", 1.0).rstrip("="),
        written("models", "digits", -1).rstrip("="),
        written("models", "digits", 2**63).rstrip("="),
        written("models", None, 1).rstrip("="),
        base64.urlsafe_b64encode(b"[" * 400).decode().rstrip("="),
        base64.urlsafe_b64encode(b'["models", "digits", 1]').decode().rstrip("="),
        base64.urlsafe_b64encode(b"{}").decode().rstrip("="),
    ],
)
def test_what_is_no_token_of_the_list_is_refused_in_a_short_line(token: str) -> None:
    with pytest.raises(InvalidNameError, match="no page token of a list of models") as refused:
        key_of("models", token)
    assert len(str(refused.value)) < 130
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 10**9, -(2**63)])
def test_a_page_has_bounds(limit: int) -> None:
    with pytest.raises(InvalidNameError, match=f"a page has 1 to 1000 models, not {limit}"):
        check_limit(limit, "models")
