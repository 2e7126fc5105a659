"""fsspec: the only module that names it. Its file systems for SFTP and S3 are asynchronous; here is
how a thread waits for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem, FSTimeoutError, get_loop, sync

from runtime.datastores.errors import LostConnectionError

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
    try:
        found: T = sync(loop, act, *arguments, timeout=longest_s, **options)
    except FSTimeoutError as error:
        raise LostConnectionError(f"no answer within {longest_s:.0f} s") from error
    return found
