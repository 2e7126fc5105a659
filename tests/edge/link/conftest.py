"""Links that end with the test, and leave nothing behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack

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
    """As many are open after the test as before it."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before)
