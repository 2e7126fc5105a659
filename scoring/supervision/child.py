"""Forking a server process, so that it starts with everything imported and nothing that isn't its.

    pid = fork_child(main, close_inherited)      # the parent only; ``main`` runs in the child

Signals are blocked across the fork: one that arrives in between would be reported to the parent,
whose wakeup descriptor the child still has.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from types import FrameType

_PARENTS_BUSINESS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A terminal or service manager sends these to all processes of a group; the parent says what they
mean. A handler that does nothing, because an ignored signal stays ignored in programs started."""


def fork_child(main: Callable[[], int], close_inherited: Callable[[], None]) -> int:
    """The new process's id. There, what is the parent's is closed, then ``main`` is run and its
    result is the exit code; an exception is printed and is exit code 1."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(main, close_inherited, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(
    main: Callable[[], int], close_inherited: Callable[[], None], mask: Iterable[int]
) -> None:
    """Does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in _PARENTS_BUSINESS:
            signal.signal(number, _nothing)
        for number in (signal.SIGCHLD, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        close_inherited()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        gc.enable()
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _nothing(number: int, frame: FrameType | None) -> None:
    """See _PARENTS_BUSINESS."""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
