"""What the service does for clients in threads of its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities import OnChange
from registry.errors import InvalidSourceError
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.jobs import Jobs

DEADLINE_S = 60.0


class Work:
    """An activity that goes on until the test says so."""

    def __init__(self, workspace: Workspace) -> None:
        self._activities = workspace.activities
        self.go_on = threading.Event()
        self.has_ended = threading.Event()

    def __call__(self, on_change: OnChange) -> None:
        """As of a job."""
        try:
            with self._activities.start("test", "it", on_change) as running:
                running.phase("working")
                self.go_on.wait(DEADLINE_S)
                running.phase("on")
        finally:
            self.has_ended.set()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "ws", base="none")


def test_the_activity_is_there_while_the_work_goes_on(workspace: Workspace) -> None:
    work = Work(workspace)
    found = Jobs(threading.Event()).start(work)
    assert workspace.activities.get(found.id).is_running
    work.go_on.set()
    assert work.has_ended.wait(DEADLINE_S)
    assert workspace.activities.get(found.id).state == "succeeded"


def test_what_fails_before_its_activity_is_raised(workspace: Workspace) -> None:
    def wrong(_: OnChange) -> None:
        raise InvalidSourceError("the input is wrong")

    jobs = Jobs(threading.Event(), most=1)
    for _ in range(3):  # and its place is free again
        with pytest.raises(InvalidSourceError, match="the input is wrong"):
            jobs.start(wrong)


def test_more_than_may_run_are_refused_for_now(workspace: Workspace) -> None:
    jobs, work = Jobs(threading.Event(), most=1), Work(workspace)
    jobs.start(work)
    with pytest.raises(Fault) as refused:
        jobs.start(Work(workspace))
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "30"})
    work.go_on.set()
    assert work.has_ended.wait(DEADLINE_S)


def test_the_end_of_the_service_cancels_what_runs(workspace: Workspace) -> None:
    closing = threading.Event()
    work = Work(workspace)
    found = Jobs(closing).start(work)
    closing.set()
    work.go_on.set()
    assert work.has_ended.wait(DEADLINE_S)
    ended = workspace.activities.get(found.id)
    assert (ended.state, ended.cause) == ("cancelled", "the service ends")
