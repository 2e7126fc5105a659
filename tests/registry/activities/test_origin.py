"""What an activity was begun with, and that it is begun again once."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from registry.activities import Activities
from registry.activities.origin import (
    MAX_BYTES,
    CommandOrigin,
    Origin,
    ServiceOrigin,
    begun_by,
    resuming,
)
from registry.errors import EngineError, ImmutableError, NotFoundError
from tests.registry.activities.conftest import activities_of

ORIGIN = CommandOrigin(("image", "create", "digits"), "/home/ann")


def _failed(activities: Activities, origin: Origin | None = ORIGIN) -> str:
    with nullcontext() if origin is None else begun_by(origin), pytest.raises(EngineError):
        _fail(activities)
    return activities.list(limit=1)[0].id


def _fail(activities: Activities) -> None:
    with activities.start("image", "digits:1"):
        raise EngineError("no engine")


@pytest.mark.parametrize(
    ("origin", "by"),
    [
        (ORIGIN, "command"),
        (ServiceOrigin("images.create", {"name": "a", "tags": {"ü": "1"}}), "service"),
    ],
)
def test_it_is_kept_as_it_was(activities: Activities, root: Path, origin: Origin, by: str) -> None:
    id = _failed(activities, origin)
    found = activities_of(root).get(id)
    assert (found.begun_by, found.resumes, found.resumed_by) == (by, None, None)
    assert found.is_resumable
    assert activities_of(root).origin(id) == origin


def test_only_the_block_has_it(activities: Activities) -> None:
    _failed(activities)
    id = _failed(activities, None)
    assert not activities.get(id).is_resumable
    with pytest.raises(ImmutableError, match=r"nobody knows how activity .* was begun"):
        activities.origin(id)


@pytest.mark.parametrize(
    "origin",
    [
        CommandOrigin(("image", "caf\udce9"), "/"),
        CommandOrigin(("x" * MAX_BYTES,), "/"),
        CommandOrigin(("image", "--base", "ann:secret@host/base"), "/"),
    ],
    ids=["no text", "too large", "a password"],
)
def test_what_cannot_be_kept_is_not(activities: Activities, origin: Origin) -> None:
    assert activities.get(_failed(activities, origin)).begun_by is None


def test_what_runs_or_has_succeeded_is_not_resumed(activities: Activities) -> None:
    with (
        begun_by(ORIGIN),
        activities.start("image", "digits:1") as activity,
        pytest.raises(ImmutableError, match="runs; see inferry activity watch"),
    ):
        activities.origin(activity.id)
    with pytest.raises(ImmutableError, match="has succeeded; there is nothing to resume"):
        activities.origin(activity.id)


def test_both_say_which_is_which_and_the_last_one_is_resumed(activities: Activities) -> None:
    first = _failed(activities)
    with resuming(first):
        second = _failed(activities)
    assert activities.get(first).resumed_by == second
    assert activities.get(second).resumes == first
    with pytest.raises(ImmutableError, match=f"by {second}, which has failed; resume that one"):
        activities.origin(first)
    with resuming(second), begun_by(ORIGIN), activities.start("image", "digits:3") as third:
        seen = activities.get(second)
        assert seen.resumed_by == third.id
        _is_refused(activities, second, f"by {third.id}, which runs$")
    assert not activities.get(third.id).is_resumable


def _is_refused(activities: Activities, id: str, why: str) -> None:
    with pytest.raises(ImmutableError, match=why):
        activities.origin(id)


def test_of_two_that_resume_the_same_one_does(activities: Activities, root: Path) -> None:
    first = _failed(activities)
    both, done, outcomes = threading.Barrier(2), threading.Event(), list[str]()

    def resume() -> None:
        mine = activities_of(root)
        both.wait(10)
        try:
            with resuming(first), begun_by(ORIGIN), mine.start("image", "digits:2"):
                outcomes.append("begun")
                done.wait(30)
        except ImmutableError:
            outcomes.append("refused")
            done.set()

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["begun", "refused"]
    assert [each.resumes for each in activities.list()] == [first, None]


def test_one_of_another_workspace_is_not_resumed_here(activities: Activities) -> None:
    with (
        pytest.raises(NotFoundError),
        resuming("20200101T000000-abcdef"),
        activities.start("image", "digits:1"),
    ):
        raise AssertionError("it began")
    assert activities.list() == []
