"""Against werkzeug, which the reference uses, where the reference's rules are werkzeug's."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.azure import inputs
from scoring.azure.request import make_request
from scoring.script.frames import ScoreRequest


def request(
    method: str = "POST", query: str = "", headers: list[tuple[str, str]] | None = None
) -> ScoreRequest:
    return ScoreRequest(method, "/score", query, headers or [])


@given(st.text('aA=&;%+[]1"5FC ', max_size=30))
def test_a_query_is_read_as_werkzeug_reads_it(query: str) -> None:
    query = query.replace(" ", "%20")
    args = make_request(request("GET", query), b"").args
    expected: dict[str, object] = {}
    for name in args:
        values = [_value(text) for text in args.getlist(name)]
        expected[name] = values[0] if len(values) == 1 else values
    got = inputs.json_string("data")(request("GET", query), b"")
    assert got == {"data": json.dumps(expected)}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


NAMES = st.sampled_from(["host", "x-a", "X-A", "content-type", "a_b", "cookie", "x-1a", "accept"])


@given(st.lists(st.tuples(NAMES, st.text("ab ,;=", max_size=5)), max_size=6, unique_by=lambda p: p))
def test_request_headers_are_werkzeugs(pairs: list[tuple[str, str]]) -> None:
    if sum(name == "content-type" for name, _ in pairs) > 1:
        return  # gunicorn refuses those
    assert inputs.request_headers(pairs) == dict(make_request(request(headers=pairs), b"").headers)


@given(st.text("aApp/ljsontc+;=, ", max_size=20) | st.sampled_from(["application/x+json;a=b"]))
def test_a_json_content_type_is_werkzeugs(kind: str) -> None:
    head = request(headers=[("content-type", kind)])
    parse = inputs.objects([inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY)])
    if make_request(head, b"").is_json:
        assert parse(head, b'{"x": 1}') == {"x": 1}
        return
    with pytest.raises(inputs.Refused) as caught:
        parse(head, b'{"x": 1}')
    assert caught.value.status == 415


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a": ' * 50_000])
def test_deep_nesting_is_the_clients_fault(body: bytes) -> None:
    head = request(headers=[("content-type", "application/json")])
    with pytest.raises(inputs.Refused) as caught:
        inputs.objects([])(head, body)
    assert caught.value.status == 400
