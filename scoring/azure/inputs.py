"""What run() is called with: the three input modes.

As azureml-inference-server-http 1.5.1 (server/input_parsers.py), but input that Python's parser
cannot take for other reasons than its syntax (nested too deeply, not UTF-8, a number of more than
4300 digits) is the client's fault too: 400, where the reference fails with 500.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote

from scoring.script.frames import Headers, ScoreRequest

Arguments = dict[str, Any]
Parser = Callable[[ScoreRequest, bytes | bytearray], Arguments]
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class Refused(Exception):
    """The request does not reach run(): ``status`` and ``message`` go to the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class OtherMethodError(Exception):
    """run() takes GET and POST only."""


def json_string(parameter: str) -> Parser:
    """An undecorated run(): the body as text."""

    def parse(head: ScoreRequest, body: bytes | bytearray) -> Arguments:
        if head.method == "POST":
            return {parameter: _text(head, body)}
        if head.method == "GET":
            return {parameter: json.dumps(_query(head.query))}
        raise OtherMethodError

    return parse


def objects(parameters: Sequence[inspect.Parameter]) -> Parser:
    """A run() with @input_schema: the values of a JSON object by parameter name."""

    def parse(head: ScoreRequest, body: bytes | bytearray) -> Arguments:
        if head.method == "POST":
            values = _object(head, body)
        elif head.method == "GET":
            values = _query(head.query)
        else:
            raise OtherMethodError
        return {parameter.name: _value(values, parameter) for parameter in parameters}

    return parse


def raw(parameter: str) -> Parser:
    """A run() with @rawhttp: the HTTP request itself, whatever its method."""
    from scoring.azure.request import make_request  # needs werkzeug, which raw mode has loaded

    return lambda head, body: {parameter: make_request(head, body)}


def request_headers(headers: Headers) -> dict[str, str]:
    """As ``dict(request.headers)`` of the reference: names in title case, duplicates joined by a
    comma, names with an underscore left out (gunicorn drops them)."""
    found: dict[str, str] = {}
    for name, value in headers:
        title = name.title()
        if "_" in title:
            continue
        if title in ("Content-Type", "Content-Length"):
            if value:
                found[title] = value
        else:
            found[title] = f"{found[title]},{value}" if title in found else value
    return found


def _value(values: Arguments, parameter: inspect.Parameter) -> Any:
    value = values.get(parameter.name, parameter.default)
    if value is inspect.Parameter.empty:
        raise Refused(400, f"A value is not provided for the {parameter.name!r} parameter.")
    return value


def _content_type(headers: Headers) -> str:
    for name, value in headers:
        if name.lower() == "content-type":
            return value.partition(";")[0].strip().lower()
    return ""


def _text(head: ScoreRequest, body: bytes | bytearray) -> str:
    if body and _content_type(head.headers) in _FORMS:
        body = _unless_form(head, body)
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, f"Input cannot be decoded as UTF-8: {error}") from None


def _unless_form(head: ScoreRequest, body: bytes | bytearray) -> bytes:
    """What the reference passes on of a body that says it is a form: nothing, if it is one."""
    from werkzeug.exceptions import HTTPException

    from scoring.azure.request import make_request

    try:
        return make_request(head, body).data
    except HTTPException as error:
        raise Refused(error.code or 400, error.description or "") from None


def _object(head: ScoreRequest, body: bytes | bytearray) -> Arguments:
    kind = _content_type(head.headers)
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise Refused(415, "Expects Content-Type to be application/json")
    try:
        value = json.loads(body)
    except RecursionError:
        raise Refused(400, "POST body is nested too deeply.") from None
    except ValueError as error:  # also UnicodeDecodeError and too many digits
        if not body:
            raise Refused(400, "POST body is empty. Expecting a JSON dictionary.") from None
        raise Refused(400, f"POST body could not be decoded as JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(400, "POST body should be a JSON dictionary.")
    return value


def _query(query: str) -> Arguments:
    """The query as a JSON object: each value parsed if it can be, repeated ones a list."""
    values: dict[str, list[Any]] = {}
    for name, text in parse_qsl(query, keep_blank_values=True, errors=_REQUOTE):
        values.setdefault(name, []).append(_json_or_text(text))
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise Refused(400, "A value of the query is nested too deeply.") from None
    except ValueError:
        return text


_REQUOTE = "scoring.azure.requote"


def _requote(error: UnicodeError) -> tuple[str, int]:
    """Bytes of a query that are no UTF-8 stay percent-encoded, as in werkzeug."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return quote(error.object[error.start : error.end], safe=""), error.end


def _register_requote() -> None:
    import codecs

    codecs.register_error(_REQUOTE, _requote)


_register_requote()
