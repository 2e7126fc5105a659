"""A webhook: one POST (exchange.py), and the tries of it."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from runtime.hooks import signature
from runtime.hooks.answer import Answer, Result, line
from runtime.hooks.delivery import retry_after_s, wait_s
from runtime.hooks.exchange import Reply, exchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent. ``id``: the same each time; ``may_veto``: 409 means "not now"."""

    url: str
    id: str
    body: bytes
    secret: bytes | None = None
    may_veto: bool = False


class Post(Protocol):
    """As exchange.exchanged, which see for what it raises."""

    def __call__(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> Reply: ...


def deliver(
    message: Message,
    *,
    each_s: float,
    total_s: float = float("inf"),
    sleep: Callable[[float], bool],
    post: Post | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], float] = time.time,
) -> Answer:
    """Tried until it is taken, refused for good, or enough. ``sleep``: False where there is no
    time to go on, as the controller ends."""
    began_s, tries = clock(), 0
    while True:
        tries += 1
        left_s = total_s - (clock() - began_s)
        reply, error = _tried(message, min(each_s, left_s), post or exchanged, wall_clock)
        took_s = clock() - began_s
        found = _answer(message, reply, error, took_s, tries)
        if found.result in (Result.OK, Result.NOT_NOW):
            return found
        status = None if reply is None else reply.status
        wait = wait_s(tries, status, found.again_s, total_s - took_s)
        if wait is None or not sleep(wait):
            return found


def _tried(
    message: Message, timeout_s: float, post: Post, wall_clock: Callable[[], float]
) -> tuple[Reply | None, Exception | None]:
    signed = signature.headers(
        message.secret, id=message.id, at_unix_s=int(wall_clock()), body=message.body
    )
    try:
        if timeout_s <= 0:
            raise TimeoutError
        return post(message.url, message.body, signed, timeout_s), None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return None, error


def _answer(
    message: Message, reply: Reply | None, error: Exception | None, took_s: float, tries: int
) -> Answer:
    if reply is None:
        is_late = isinstance(error, TimeoutError)
        said = "no answer in time" if is_late else _why(error)
        return Answer(Result.TIMEOUT if is_late else Result.FAILED, said, took_s, tries=tries)
    said, again_s = line(reply.body), retry_after_s(reply.retry_after, datetime.now(UTC))
    if 200 <= reply.status < 300:
        return Answer(Result.OK, said, took_s, tries=tries)
    if reply.status == 409 and message.may_veto:
        return Answer(Result.NOT_NOW, said or "not now", took_s, again_s, tries)
    if 300 <= reply.status < 400:
        where = f" to {line(reply.location, 100)}" if reply.location else ""
        why = f"it answers {reply.status} and redirects{where}, which is not followed"
        return Answer(Result.FAILED, why, took_s, tries=tries)
    why = f"it answers {reply.status}" + (f": {said}" if said else "")
    return Answer(Result.FAILED, why, took_s, again_s, tries)


def _why(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {line(error.verify_message)}"
    if isinstance(error, http.client.HTTPException):
        return f"its answer is no HTTP ({type(error).__name__})"
    if isinstance(error, OSError) and error.strerror:
        return line(error.strerror)
    return line(f"{type(error).__name__}: {error}")
