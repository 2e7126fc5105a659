"""How a worker process lives and dies: with its server, and only when the server says so."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from types import FrameType

_PR_SET_PDEATHSIG = 1
_OURS = (signal.SIGINT, signal.SIGTERM)


def settle(server: socket.socket) -> None:
    """Tie this process to its server; exits when the server is gone already."""
    faulthandler.enable()
    _take_null_as_stdin()
    _die_with_parent(server)
    for signum in _OURS:  # the server decides; it closes the socket
        signal.signal(signum, _nothing)
    hold = _Hold()
    os.register_at_fork(
        before=hold.signals, after_in_parent=hold.release, after_in_child=hold.release_in_child
    )
    os.register_at_fork(after_in_child=server.close)  # a forked child of the script never answers


def _take_null_as_stdin() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _die_with_parent(server: socket.socket) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(BlockingIOError):  # it may have died before the line above
        if not server.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
            sys.exit(0)


def _nothing(signum: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN, a handler is not inherited by the programs that a script starts."""


class _Hold(threading.local):
    """Holds signals back across a fork: one that reached the child before it had the usual handlers
    would find ours there, and be lost."""

    mask: Iterable[int] = ()

    def signals(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)

    def release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def release_in_child(self) -> None:
        with contextlib.suppress(ValueError):  # forked by another thread than the main one
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.release()
