"""Links that end with the test, and leave nothing behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from edge.link.mqtt import LinkConfig
from tests.edge.link.users import User, Users, is_link, wait_for


@pytest.fixture
def users() -> Iterator[Users]:
    """No thread of theirs outlives the test, and no socket (warnings are errors)."""
    before = set(threading.enumerate())
    with ExitStack() as made:

        def make(config: LinkConfig, **options: object) -> User:
            found = User(config, **options)
            made.callback(found.link.stop)
            return found

        yield make
    wait_for(lambda: not [one for one in set(threading.enumerate()) - before if is_link(one)])


@pytest.fixture
def open_files() -> Iterator[None]:
    """As many sockets are open after the test as before it. (Of other files a worker of pytest may
    open some at any time.)"""
    before = sockets()
    yield
    wait_for(lambda: sockets() <= before)


def sockets() -> int:
    """Of this process."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found
