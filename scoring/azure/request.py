"""The request object of raw mode: werkzeug's, with what Flask adds to it and scripts use.

Flask itself is not needed: its Request is a subclass of werkzeug's.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Request as WerkzeugRequest

if TYPE_CHECKING:
    from scoring.script.frames import ScoreRequest


class Request(WerkzeugRequest):
    """As Flask's, for the one route that there is."""

    url_rule = None
    view_args: dict[str, Any] = {}  # noqa: RUF012
    routing_exception = None
    endpoint = "main.handle_score"
    blueprint = "main"
    blueprints = ("main",)

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Flask hides the parser's message when not debugging."""
        try:
            return super().on_json_loading_failed(e)
        except BadRequest as error:
            raise BadRequest from error


def make_request(head: ScoreRequest, body: bytes | bytearray) -> Request:
    """The request object for run()."""
    return Request(environ(head, body))


def environ(head: ScoreRequest, body: bytes | bytearray) -> dict[str, Any]:
    """The WSGI environment of a request, in the order in which gunicorn builds it."""
    target = f"{head.path}?{head.query}" if head.query else head.path
    made: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.errors": None,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(body),
        "REQUEST_METHOD": head.method,
        "QUERY_STRING": head.query,
        "RAW_URI": target,
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    for name, value in head.headers:
        if "_" in name:  # gunicorn drops them: they could pass for another header
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        made[key] = f"{made[key]},{value}" if key in made and key.startswith("HTTP_") else value
    made["wsgi.url_scheme"] = head.scheme
    made["REMOTE_ADDR"], made["REMOTE_PORT"] = head.client[0], str(head.client[1])
    made["SERVER_NAME"], made["SERVER_PORT"] = head.server[0], str(head.server[1])
    made["PATH_INFO"] = head.path.encode().decode("latin-1")
    made["SCRIPT_NAME"] = ""
    return made
