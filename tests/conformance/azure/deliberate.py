"""Every difference from the reference that we want, with its reason. The only such list.

The test asserts that each entry really differs as written here, so an entry that is no longer true
fails; so does every difference that is not listed.
"""

from __future__ import annotations

from dataclasses import dataclass

INTERNAL = "An unexpected internal error occurred"
SCRIPT = "An unexpected error occurred in scoring script"
GUNICORN = "<h1><p>Internal Server Error</p></h1>"


@dataclass(frozen=True, slots=True)
class Seen:
    """A status and a part of the body."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What the reference gives, what we give, why."""

    reference: Seen
    ours: Seen
    reason: str


CLIENTS_FAULT = "input that Python's parser refuses is the client's fault: 400, not a server error"
KEEPS_WORKER = (
    "an exit in run() must not cost the worker; the client gets the contract's JSON error, not "
    "gunicorn's HTML"
)
JSON_ERROR = "an error is JSON with the contract's headers, never gunicorn's HTML page"
LONG_TARGET = "gunicorn refuses request lines over 4094 bytes; we take longer ones"

DIFFERENCES: dict[tuple[str, str], Difference] = {
    ("json_echo", "get deeply nested"): Difference(
        Seen(500, INTERNAL), Seen(400, "nested too deeply"), CLIENTS_FAULT
    ),
    ("json_echo", "long target"): Difference(
        Seen(414, "URI Too Long"), Seen(200, '"type": "str"'), LONG_TARGET
    ),
    ("schema_int", "deeply nested"): Difference(
        Seen(500, INTERNAL), Seen(400, "nested too deeply"), CLIENTS_FAULT
    ),
    ("schema_int", "many digits"): Difference(
        Seen(500, INTERNAL), Seen(400, "could not be decoded as JSON: Exceeds"), CLIENTS_FAULT
    ),
    ("schema_int", "bad utf-8"): Difference(
        Seen(500, INTERNAL), Seen(400, "could not be decoded as JSON: 'utf-8'"), CLIENTS_FAULT
    ),
    ("exits", "post exit"): Difference(Seen(500, GUNICORN), Seen(500, SCRIPT), KEEPS_WORKER),
    ("exits", "post interrupt"): Difference(Seen(500, GUNICORN), Seen(500, SCRIPT), KEEPS_WORKER),
    ("exits", "post generator-exit"): Difference(
        Seen(500, GUNICORN), Seen(500, SCRIPT), KEEPS_WORKER
    ),
    ("aml_response", "post int"): Difference(Seen(500, GUNICORN), Seen(500, INTERNAL), JSON_ERROR),
    ("stream_breaks", "post at once"): Difference(
        Seen(500, GUNICORN), Seen(500, INTERNAL), JSON_ERROR
    ),
}

REFUSED: dict[str, str] = {
    "hidden_scoring": "a module called scoring in the app root would be hidden by our own package, "
    "so the script could run with the wrong code: refused at load with the advice to rename it",
}
"""Scripts that the reference serves and we refuse to load."""
