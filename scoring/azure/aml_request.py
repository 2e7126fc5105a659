"""``azureml.contrib.services.aml_request``: rawhttp and AMLRequest, as scripts import them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from scoring.azure.request import Request

_rawHttpRequested = False

Run = TypeVar("Run", bound=Callable[..., Any])


def rawhttp(func: Run) -> Run:
    """Ask for the HTTP request itself. As in the reference this flips a switch of the whole module
    and leaves the function alone."""
    global _rawHttpRequested
    _rawHttpRequested = True
    return func


class AMLRequest(Request):
    """A name for annotations; the server passes a Request."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[call-arg]  # fails, as in the reference
