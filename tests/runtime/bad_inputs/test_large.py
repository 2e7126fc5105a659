"""Deep, wide and long documents cost little and harm nobody, on any route that takes one."""

from __future__ import annotations

import json
import time
from functools import cache

import pytest

from tests.runtime.bad_inputs.asking import TARGETS, Target
from tests.runtime.bad_inputs.conftest import Service

SENT = [target for target in TARGETS if target.document is not None]
DEEP = 100_000
MANY = 1_000_000
DEEP_LIST = b"[" * DEEP
DEEP_OBJECT = b'{"a":' * DEEP + b"1" + b"}" * DEEP
pytestmark = pytest.mark.slow


def _send(service: Service, target: Target, body: bytes, kind: str = "application/json") -> int:
    return service.ask(
        target.method, target.path(), content=body, headers={"Content-Type": kind}
    ).status_code


def _fields(target: Target) -> tuple[str, ...]:
    assert target.document is not None
    return tuple(name for name in target.document.__struct_fields__ if name not in target.names)


@pytest.mark.parametrize("target", SENT, ids=lambda target: target.id)
def test_a_document_that_is_deep_is_refused(service: Service, target: Target) -> None:
    for name in ("no_such", *_fields(target)):
        key = json.dumps(name).encode()
        for body in (
            DEEP_OBJECT,
            b"{" + key + b":" + DEEP_LIST + b"]" * DEEP + b"}",
            b"{" + key + b":" + DEEP_OBJECT + b"}",
            b"{" + key + b":" + DEEP_LIST,
        ):
            assert _send(service, target, body) in (400, 404, 413)
    if target.id.startswith("api"):
        assert _send(service, target, b"\x91" * DEEP + b"\x01", "application/msgpack") == 400
        assert _send(service, target, b"\x81\xa1a" * DEEP + b"\x01", "application/msgpack") == 400
    service.check_unharmed()


WIDE = [
    (target, name)
    for target in SENT
    for name in _fields(target)
    if name in ("tags", "properties", "params", "set", "passed", "settings", "secrets")
]


@cache
def _many(one: bytes) -> bytes:
    return b",".join(one % number for number in range(MANY))


@pytest.mark.parametrize(("target", "name"), WIDE, ids=lambda value: getattr(value, "id", value))
def test_a_million_tags_are_refused_in_time(service: Service, target: Target, name: str) -> None:
    if target.id.startswith("api"):
        pairs = _many(b'"k%d":""')
        body = b'{"name":"x","id":"%s",%s:{%s}}' % (b"0" * 32, json.dumps(name).encode(), pairs)
    else:
        pairs = _many(b'{"key":"%d"}')
        body = b'{"run_id":"%s",%s:[%s]}' % (b"0" * 32, json.dumps(name).encode(), pairs)
    began = time.process_time()
    assert _send(service, target, body) in (400, 404, 413)
    assert time.process_time() - began < 15
    service.check_unharmed()


def test_a_million_fields_of_a_form_are_refused(service: Service) -> None:
    body = b"&".join(b"f%d=1" % number for number in range(200_000))
    for target in TARGETS:
        if target.form:
            kind = "application/x-www-form-urlencoded"
            assert _send(service, target, body, kind) in (400, 413)
    service.check_unharmed()


@pytest.mark.parametrize(
    "target", [target for target in TARGETS if target.query], ids=lambda target: target.id
)
def test_a_search_is_no_regular_expression(service: Service, target: Target) -> None:
    """What would take exponential time as one, in every parameter."""
    for bad in ("(a%2B)%2B%24" + "a" * 60, "%25" * 400 + "x", "(" * 2000, "a%20LIKE%20'%25" * 60):
        for name in target.query:
            began = time.process_time()
            service.ask(target.method, f"{target.path()}?{name}={bad}", is_stream=target.is_stream)
            assert time.process_time() - began < 2, name
