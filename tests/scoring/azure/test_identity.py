from __future__ import annotations

import pytest

from scoring.azure.identity import Ids, TooLong, request_ids

LONGEST, LONG = "x" * 100, "x" * 101


def new_id() -> str:
    return "new"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Ids("new", "new", "")),
        ({"x-request-id": "r"}, Ids("r", "r", "")),
        ({"x-ms-client-request-id": "c"}, Ids("new", "c", "c")),
        ({"x-ms-request-id": "l"}, Ids("new", "l", "l")),
        ({"x-ms-request-id": "l", "x-ms-client-request-id": "c"}, Ids("new", "l", "c")),
        ({"x-request-id": ""}, Ids("", "", "")),
        ({"x-request-id": LONGEST}, Ids(LONGEST, LONGEST, "")),
        ({"traceid": "t"}, Ids("new", "new", "", "t")),
    ],
)
def test_ids_follow_the_reference(headers: dict[str, str], expected: Ids) -> None:
    assert request_ids(headers, new_id) == expected


@pytest.mark.parametrize(
    ("headers", "message", "echoed"),
    [
        (
            {"x-request-id": LONG, "x-ms-request-id": "l", "traceid": "t"},
            "x-request-id must not exceed 100 characters",
            [("TraceId", "t")],
        ),
        (
            {"x-request-id": "r", "x-ms-client-request-id": LONG},
            "x-ms-request-id and x-ms-client-request-id must not exceed 100 characters",
            [("x-request-id", "r")],
        ),
    ],
)
def test_a_long_id_is_refused_and_not_echoed(
    headers: dict[str, str], message: str, echoed: list[tuple[str, str]]
) -> None:
    refused = request_ids(headers, new_id)
    assert isinstance(refused, TooLong)
    assert refused.message == message
    assert refused.response_headers() == echoed


def test_all_ids_are_sent_back_in_the_references_order() -> None:
    assert Ids("r", "l", "c", "t").response_headers() == [
        ("x-request-id", "r"),
        ("x-ms-request-id", "l"),
        ("x-ms-client-request-id", "c"),
        ("TraceId", "t"),
    ]
