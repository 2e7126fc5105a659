"""When what is on trial has failed, by a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge.keeping.port import LiveView
from edge.messages.desired import Module, Probe, Update
from edge.switch.trial import HOST_S, Trial, trouble

WELL = LiveView("d", "healthy", port=1)


@dataclass
class Watched:
    """An instance at a time that the test says; ``answers``: what the probes find, one after
    another, then nothing wrong."""

    view: LiveView = WELL
    answers: list[str | None] = field(default_factory=list)
    is_host_well: bool = True
    ends: float | None = None
    now: float = 100.0

    def trial(self, **changed: float) -> Trial:
        module = Module("m", "m:1", "d", probe=Probe(), update=Update(watch_s=30.0))
        return Trial(
            module,
            lambda: self.view,
            lambda: self.is_host_well,
            restarts_before=int(changed.get("restarts_before", 0)),
            clock=lambda: self.now,
            count_ends=lambda *_: self.ends,
            probe=lambda *_: self.answers.pop(0) if self.answers else None,
        )

    def watch(self, trial: Trial, seconds: float) -> str | None:
        end = self.now + seconds
        while self.now < end and trial.look() is None:
            self.now += 0.25
        return trial.look()


def test_a_trial_is_passed_when_its_time_is_over_and_all_is_well() -> None:
    watched = Watched()
    trial = watched.trial()
    assert watched.watch(trial, 29) is None
    assert [trial.is_passed] == [False]
    assert watched.watch(trial, 2) is None
    assert [trial.is_passed] == [True]
    watched.view = LiveView("d", "starting", port=1)
    assert [trial.is_passed] == [False]


@pytest.mark.parametrize("answers", [["no"] * 3, ["no", None, "no", None, None, "no"]])
def test_probes_that_fail_count_together(answers: list[str | None]) -> None:
    watched = Watched(answers=answers)
    assert watched.watch(watched.trial(), 10) == "it is not well: no"


def test_probes_that_fail_now_and_then_do_not() -> None:
    watched = Watched(answers=["no", "no"])
    trial = watched.trial()
    assert watched.watch(trial, 61) is None
    watched.answers = ["no", "no"]
    assert watched.watch(trial, 5) is None
    assert [trial.is_passed] == [True]


def test_what_is_silent_at_the_end_has_not_passed() -> None:
    watched = Watched(answers=[None] * 60 + ["no"])
    trial = watched.trial()
    while watched.answers:
        assert trial.look() is None
        watched.now += 0.5
    assert watched.now > 130
    assert [trial.is_passed] == [False]
    assert watched.watch(trial, 1) is None
    assert [trial.is_passed] == [True]


def test_while_the_host_is_away_nothing_is_blamed_but_not_for_ever() -> None:
    away = LiveView("d", "unhealthy", error="the port is taken", is_host_away=True)
    watched = Watched(view=away, is_host_well=False)
    trial = watched.trial()
    assert watched.watch(trial, 500) is None
    watched.is_host_well = True
    began = watched.now
    assert "it" in str(watched.watch(trial, 100))
    assert watched.now - began < HOST_S + 1


def test_an_end_is_told_with_its_reason() -> None:
    assert trouble(LiveView("d", "starting", restarts=1, exit_code=3), 1) is None
    assert trouble(LiveView("d", "starting", restarts=2, exit_code=3), 1) == (
        "it ended with exit code 3"
    )
    end = LiveView("d", "healthy", restarts=1, exit_code=137, is_out_of_memory=True)
    assert "out of memory" in str(trouble(end, 0))
    assert "unhealthy: GET" in str(trouble(LiveView("d", "unhealthy", error="GET"), 0))
    assert "nobody knows" in str(trouble(LiveView("d", "stopped"), 0))


def test_a_server_whose_processes_end_again_and_again_has_failed() -> None:
    watched = Watched(ends=7)
    trial = watched.trial()
    assert watched.watch(trial, 5) is None
    watched.ends = 8  # one may be an accident
    assert watched.watch(trial, 5) is None
    watched.ends = 9
    assert "2 of its processes ended" in str(watched.watch(trial, 5))


def test_a_server_that_was_started_anew_counts_from_there() -> None:
    watched = Watched(ends=7)
    trial = watched.trial()
    watched.watch(trial, 5)
    for watched.ends in (0, 1, None):
        assert watched.watch(trial, 5) is None
    watched.ends = 2
    assert watched.watch(trial, 5) is not None


def test_a_restart_that_was_asked_for_does_not_count() -> None:
    watched = Watched()
    trial = watched.trial()
    trial.was_restarted()
    watched.view = LiveView("d", "healthy", restarts=1, port=1)
    assert watched.watch(trial, 5) is None
    watched.view = LiveView("d", "healthy", restarts=2, port=1, exit_code=1)
    assert watched.watch(trial, 5) == "it ended with exit code 1"
