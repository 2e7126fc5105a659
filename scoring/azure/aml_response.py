"""``azureml.contrib.services.aml_response``: AMLResponse, as scripts import it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Response as WerkzeugResponse


class Response(WerkzeugResponse):
    """As Flask's: HTML unless said otherwise."""

    default_mimetype = "text/html"
    autocorrect_location_header = False


class AMLResponse(Response):
    """A response with status and headers; ``None`` is an empty JSON object, an iterator streams."""

    def __init__(
        self,
        message: Any,
        status_code: Any,
        response_headers: Mapping[str, str] = {},
        json_str: bool = False,
        run_function_failed: bool = False,
    ) -> None:
        if message is None or json_str:
            text = json.dumps({} if message is None else message)
            super().__init__(text, status=status_code, mimetype="application/json")
        else:
            super().__init__(message, status=status_code)
            if "Content-Type" in response_headers:
                self.headers.remove("Content-Type")  # the loop below adds it
        self.headers["x-ms-run-function-failed"] = str(run_function_failed)
        for header, value in response_headers.items():
            for part in value.split(","):  # how a script repeats a header
                self.headers.add_header(header, part.strip())
