"""What is in a query, a form or a document is a value and no more, on any route."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.runtime.bad_inputs.asking import TARGETS, Target
from tests.runtime.bad_inputs.conftest import Service
from tests.runtime.bad_inputs.inputs import NUMBERS, TEXTS
from tests.runtime.bad_inputs.spoiling import spoiled_documents

ASKED = [target for target in TARGETS if target.query]
SENT = [target for target in TARGETS if target.document is not None]
FORMS = [target for target in TARGETS if target.form]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("target", ASKED, ids=lambda target: target.id)
def test_a_query_is_taken_or_refused(service: Service, target: Target) -> None:
    for bad in (*TEXTS, *NUMBERS):
        value = quote(bad, safe="")
        together = "&".join(f"{name}={value}" for name in target.query)
        # A page takes what it knows; a route refuses what it does not, so one by one.
        one_by_one = [f"{name}={value}" for name in target.query]
        is_page = target.id.startswith("portal") and len(together) < 16_000
        for query in [together] if is_page else one_by_one:
            path = f"{target.path()}?{query}"
            answer = service.ask(target.method, path, is_stream=target.is_stream)
            assert answer.status_code != 401
            assert "sign-in?next" not in answer.headers.get("location", "")
            assert b"root:" not in answer.content
    for bad in ("%ff%fe", "%00", "%ud800", "=", "&" * 300, "x&" * 300, "%"):
        service.ask(target.method, f"{target.path()}?{bad}", is_stream=target.is_stream)
    service.check_unharmed()


def _send(service: Service, target: Target, document: str) -> int:
    return service.ask(
        target.method,
        target.path(),
        content=document.encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
    ).status_code


@pytest.mark.parametrize("target", SENT, ids=lambda target: target.id)
def test_a_text_in_a_document_is_taken_or_refused(service: Service, target: Target) -> None:
    assert target.document is not None
    for bad in TEXTS:
        for document in spoiled_documents(
            target.document, bad, numbers=False, without=target.names
        ):
            _send(service, target, document)
    service.check_unharmed()


@pytest.mark.parametrize("target", SENT, ids=lambda target: target.id)
def test_a_number_in_a_document_is_one_that_there_is(service: Service, target: Target) -> None:
    assert target.document is not None
    for bad in NUMBERS:
        for document in spoiled_documents(target.document, bad, numbers=True, without=target.names):
            status = _send(service, target, document)
            if target.id.startswith("api") and bad in ("NaN", "Infinity", "[]", "{}", "9" * 400):
                assert status in (400, 404, 415), document[:300]
    service.check_unharmed()


@pytest.mark.parametrize("target", FORMS, ids=lambda target: target.id)
def test_a_field_of_a_form_is_taken_or_refused(service: Service, target: Target) -> None:
    for bad in (*TEXTS, *NUMBERS):
        fields = {name: bad for name in target.form if name != "csrf"}
        assert service.send_form(target.path(), fields).status_code != 401
    service.check_unharmed()
