"""Runs of other machines: what they log is there once, and they live while they are heard of."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import ImmutableError, InvalidNameError, NotFoundError, TargetExistsError
from registry.tracking import Tracking
from registry.tracking.lives import LEASE_S, UNHEARD, Lives

ID, OTHER = "0" * 32, "1" * 32


class Clock:
    """Seconds, which a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracking(tmp_path: Path, clock: Clock) -> Tracking:
    found = Workspace.init(tmp_path / "ws", base="none").tracking
    for lives in (found.lives, found.distant._lives, found.runs._lives):
        lives._clock = clock
    return found


def begin(tracking: Tracking, id: str = ID, client: str = "a") -> None:
    tracking.distant.begin(id, "digits", client=client, started_ms=1_800_000_000_000)


def test_what_is_sent_again_is_there_once(tracking: Tracking) -> None:
    begin(tracking)
    points = [("loss", 0.5, None, 1), ("loss", math.nan, None, 2)]
    for _ in range(3):
        tracking.distant.log(ID, client="a", number=1, points=points, lines="one\ntwo")
    assert not tracking.distant.log(ID, client="a", number=1, points=points)
    assert tracking.distant.log(ID, client="a", number=2, values=[("l", "list", 3, "[1]")])
    assert tracking.distant.log(ID, client="b", number=1, points=points)
    assert tracking.metrics.latest(ID)["loss"].count == 4
    assert len(tracking.metrics.values(ID)) == 1
    lines = tracking.log(ID).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["one", "two"]


def test_a_batch_that_is_refused_leaves_nothing_and_its_number_free(tracking: Tracking) -> None:
    begin(tracking)
    with pytest.raises(InvalidNameError):
        tracking.distant.log(
            ID, client="a", number=1, points=[("loss", 0.5, None, 1), ("a\n", 0.5, None, 1)]
        )
    assert tracking.metrics.latest(ID) == {}
    assert tracking.distant.log(ID, client="a", number=1, points=[("loss", 0.5, None, 1)])


def test_a_run_that_was_begun_is_begun_once(tracking: Tracking) -> None:
    begin(tracking)
    begin(tracking)
    assert [run.number for run in tracking.runs.search().runs] == [1]
    with pytest.raises(TargetExistsError):
        begin(tracking, client="another")


def test_nobody_reaches_a_file_by_an_id(tracking: Tracking) -> None:
    for wrong in ("../../x", "", "0" * 31, "x" * 32):
        for ask in (
            lambda id=wrong: tracking.distant.beat(id),
            lambda id=wrong: tracking.distant.log(id, client="a", number=1),
            lambda id=wrong: begin(tracking, id),
            lambda id=wrong: tracking.distant.end(id, "finished", cause=None, ended_ms=1),
        ):
            with pytest.raises(InvalidNameError):
                ask()
    with pytest.raises(NotFoundError):
        tracking.distant.beat(OTHER)
    with pytest.raises(InvalidNameError):
        tracking.distant.log(ID, client="", number=1)
    with pytest.raises(InvalidNameError):
        tracking.distant.log(ID, client="a", number=0)


def test_it_lives_while_it_is_heard_of(tracking: Tracking, clock: Clock) -> None:
    begin(tracking)
    for _ in range(3):
        clock.now_s += LEASE_S - 1
        assert tracking.runs.get(ID).status == "running"
        tracking.distant.beat(ID)
    with pytest.raises(ImmutableError):
        tracking.runs.remove(ID)
    heard_ms = int(clock.now_s * 1000)
    clock.now_s += LEASE_S
    run = tracking.runs.get(ID)
    assert (run.status, run.cause, run.ended_ms) == ("failed", UNHEARD, heard_ms)


def test_who_is_heard_of_again_lives_again_but_not_who_ended(
    tracking: Tracking, clock: Clock
) -> None:
    begin(tracking)
    clock.now_s += LEASE_S
    assert tracking.runs.get(ID).status == "failed"
    assert not tracking.distant.beat(ID).has_ended
    run = tracking.runs.get(ID)
    assert (run.status, run.cause, run.ended_ms) == ("running", None, None)
    tracking.distant.end(ID, "failed", cause="a mistake", ended_ms=run.started_ms + 5)
    assert tracking.distant.beat(ID).has_ended
    clock.now_s += 2 * LEASE_S
    ended = tracking.runs.get(ID)
    assert (ended.status, ended.cause) == ("failed", "a mistake")


def test_a_service_that_was_away_hears_everybody_before_it_judges(
    tracking: Tracking, clock: Clock
) -> None:
    begin(tracking)
    clock.now_s += 10 * LEASE_S
    tracking.lives.hear_all()
    assert tracking.runs.get(ID).status == "running"
    Lives(Path("/nowhere/at/all")).hear_all()


def test_an_end_that_is_asked_for_is_heard_of(tracking: Tracking) -> None:
    begin(tracking)
    assert not tracking.distant.beat(ID).is_cancelled
    tracking.runs.cancel(ID)
    assert tracking.distant.beat(ID).is_cancelled
    tracking.distant.end(ID, "killed", cause=None, ended_ms=1_800_000_000_001)
    tracking.distant.end(ID, "killed", cause=None, ended_ms=1_800_000_000_001)
    assert tracking.runs.remove(ID).status == "killed"


def test_logs_have_a_bound(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.activities.log.MAX_LOG_BYTES", 200)
    begin(tracking)
    for number in range(1, 20):
        tracking.distant.log(ID, client="a", number=number, lines="x" * 60)
    assert len(tracking.log(ID)) < 500
