"""fsspec: the only module that names it. Its file systems for SFTP and S3 are asynchronous; here is
how a thread waits for them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem, FSTimeoutError, get_loop, sync

from runtime.datastores.errors import LostConnectionError

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
LONGEST_S = 300.0
"""Of one call: a chunk, or a page of a listing. A server that says nothing for longer is lost."""


def call(
    files: AsyncFileSystem, act: Callable[..., Awaitable[T]], *arguments: Any, **options: Any
) -> T:
    """What ``act``, a coroutine function of ``files``, returns or raises. Raises
    LostConnectionError when it takes too long."""
    return _wait(files.loop, LONGEST_S, act, *arguments, **options)


def wait_for(
    act: Callable[..., Awaitable[T]], *arguments: Any, longest_s: float = LONGEST_S, **options: Any
) -> T:
    """The same, of a coroutine function that belongs to no file system."""
    return _wait(get_loop(), longest_s, act, *arguments, **options)


def _wait(
    loop: Any, longest_s: float, act: Callable[..., Awaitable[T]], *arguments: Any, **options: Any
) -> T:
    if loop.get_exception_handler() is None:
        loop.set_exception_handler(_unheard)
    try:
        found: T = sync(loop, act, *arguments, timeout=longest_s, **options)
    except FSTimeoutError as error:
        raise LostConnectionError(f"no answer within {longest_s:.0f} s") from error
    return found


def _unheard(loop: Any, context: Mapping[str, Any]) -> None:
    """Of a lost connection, asyncssh tells each request that was under way, also those that nobody
    waits for any more; asyncio would print each of them, with a traceback."""
    _LOG.debug("%s: %r", context.get("message"), context.get("exception"))
