"""What a page says of an error: its status and a line, and nothing of this machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from edge.errors import ConflictError, EdgeError, NotFoundError
from registry.distribution import DistributionError
from registry.distribution.errors import TooLargeError
from registry.errors import InUseError
from runtime.portal.answers import Page
from runtime.registry_service.refusals import STATUS as DISTRIBUTION_STATUS
from runtime.registry_service.refusals import SlowBodyError
from runtime.workspace_service.faults import Fault, document_of, status_of

TITLES = {
    400: "That cannot be done",
    401: "Sign in first",
    403: "You may not do this",
    404: "Not found",
    405: "Not like this",
    409: "That cannot be changed",
    412: "It is in use",
    413: "That is too large",
    503: "Try again",
}
_log = logging.getLogger(__name__)


def failure_page(error: Exception, hidden: Mapping[str, str]) -> Page:
    """Of an error that a place raised."""
    status, message, users = _told(error, hidden)
    title = TITLES.get(status, "It failed" if status >= 500 else "That cannot be done")
    return Page("failure.html", title, {"message": message, "users": users}, status=status)


def _told(error: Exception, hidden: Mapping[str, str]) -> tuple[int, str, tuple[str, ...]]:
    if isinstance(error, Fault):
        return error.status, str(error), ()
    if isinstance(error, SlowBodyError):
        return 408, "the form stopped coming", ()
    if isinstance(error, TooLargeError):
        return 413, str(error), ()
    if isinstance(error, DistributionError):
        return DISTRIBUTION_STATUS[error.code], str(error), ()
    if isinstance(error, EdgeError):
        status = 404 if isinstance(error, NotFoundError) else 400
        return 409 if isinstance(error, ConflictError) else status, _clean(str(error), hidden), ()
    found = status_of(error)
    if found is None:
        _log.error("internal error", exc_info=error)
        return 500, "something failed that nobody foresaw; see the service's log", ()
    if found >= 500:
        _log.error("%s", error)
    users = tuple(error.users) if isinstance(error, InUseError) else ()
    return found, str(document_of(error, hidden)["error"]["message"]), users


def _clean(message: str, hidden: Mapping[str, str]) -> str:
    for secret, shown in hidden.items():
        message = message.replace(secret, shown)
    return message[:4000]
