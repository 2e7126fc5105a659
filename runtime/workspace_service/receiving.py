"""A large file that a client uploads, as an activity: others see how far it is, and end it. It
lasts as long as the request does.

async with receiving(call, subject_of(call, digest), size, session.offset) as advance:
    await in_thread(advance, len(piece))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from registry.activities import RunningActivity
from registry.errors import CancelledError, RegistryError, StoreFullError
from runtime.registry_service.call import in_thread
from runtime.workspace_service.call import Call

LARGE_BYTES = 64 * 1024 * 1024
"""That are yet to come; less is there before anyone looks."""
KIND = "upload"
REST_S = 10.0
"""After a cancel: a client that was sending may not have seen the answer, and asks again."""
LOOKED_AT = 50
Advance = Callable[[int], None]
GOES_ON = "the same upload goes on from there"


class _CutError(RegistryError):
    """How the activity of an upload ended whose request did not."""


@asynccontextmanager
async def receiving(
    call: Call, subject: str, size: int, offset: int, if_cut: str = GOES_ON
) -> AsyncIterator[Advance]:
    """What to call with the bytes of each piece, off the loop; it raises CancelledError when
    someone asked for the end. ``if_cut``: what becomes of them when the request does not end."""
    if size - offset < LARGE_BYTES:
        yield _nobody_looks
        return
    started = call.workspace.activities.start(KIND, subject, stays=False)
    try:
        activity = await in_thread(started.__enter__)
    except StoreFullError:  # which the upload says, if it is one
        yield _nobody_looks
        return
    try:
        await in_thread(_begin, activity, size, offset)
        yield activity.advance
    except BaseException as error:
        said = error if isinstance(error, RegistryError) else _cut(activity, if_cut)
        await in_thread(started.__exit__, type(said), said, said.__traceback__)
        raise
    await in_thread(started.__exit__, None, None, None)


def check_wanted(call: Call, digest: str) -> None:
    """Raises CancelledError where someone has just ended this upload."""
    subject = subject_of(call, digest)
    found = call.workspace.activities.list(kind=KIND, limit=LOOKED_AT)
    last = next((each for each in found if each.subject == subject), None)
    if last is None or last.state != "cancelled" or last.ended_at is None:
        return
    age = datetime.now(UTC) - datetime.fromisoformat(last.ended_at)
    if 0 <= age.total_seconds() < REST_S:
        raise CancelledError(last.cause or "cancelled")


def subject_of(call: Call, digest: str) -> str:
    """How an upload is called."""
    return f"{digest[:19]} by {call.actor}"


def _nobody_looks(count: int) -> None:
    """There is nothing to count for."""


def _begin(activity: RunningActivity, size: int, offset: int) -> None:
    activity.phase("Receiving", size)
    activity.advance(offset)


def _cut(activity: RunningActivity, what_now: str) -> _CutError:
    _, done, total = activity.progress()
    return _CutError(f"cut after {done} of {total} bytes; {what_now}")
