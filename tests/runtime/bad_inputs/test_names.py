"""A name in a path leads nowhere, on any route."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.runtime.bad_inputs.asking import TARGETS, Target
from tests.runtime.bad_inputs.conftest import Service
from tests.runtime.bad_inputs.inputs import NAMES

NAMED = [target for target in TARGETS if target.names]


def encoded(text: str) -> str:
    """As a client sends it that lets nobody resolve dots."""
    return quote(text, safe="").replace(".", "%2e")


@pytest.mark.slow
@pytest.mark.parametrize("target", NAMED, ids=lambda target: target.id)
def test_a_name_leads_nowhere_however_it_is_written(service: Service, target: Target) -> None:
    for name in target.names:
        for bad in NAMES:
            once = encoded(bad)
            for value in dict.fromkeys((once, quote(once, safe=""), quote(bad, safe="/;#:@$()"))):
                answer = _asked(service, target, target.path(value, name))
                if (
                    "\0" in bad or len(bad) > 4000
                ) and not target.is_stream:  # which may say "gone"
                    assert answer >= 300, (bad[:40], answer)
    service.check_unharmed()


def _asked(service: Service, target: Target, path: str) -> int:
    path = path.replace("#", "%23")
    if target.form:
        return service.send_form(path, {}).status_code
    headers = {"Content-Type": "application/json"} if target.document else {}
    body = b"{}" if target.document else b""
    return service.ask(
        target.method, path, content=body, headers=headers, is_stream=target.is_stream
    ).status_code


@pytest.mark.slow
@pytest.mark.parametrize("target", NAMED, ids=lambda target: target.id)
def test_a_way_out_of_a_name_in_the_open_means_no_file(service: Service, target: Target) -> None:
    """Dots and slashes as they are, which servers and proxies like to resolve."""
    for name in target.names:
        for bad in ("../../../../etc/passwd", "..;/x", "./.", "%2e%2e/%2e%2e/x", "//etc/passwd"):
            path = target.path(bad, name)
            answer = service.ask(target.method, path, content=b"", is_stream=target.is_stream)
            assert b"root:" not in answer.content
    service.check_unharmed()
