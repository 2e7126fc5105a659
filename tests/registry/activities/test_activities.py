"""What is seen of an activity while it runs and after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry.activities import Activities, Activity
from registry.activities.rows import KEPT
from registry.errors import (
    CancelledError,
    ImmutableError,
    InvalidNameError,
    NotFoundError,
    RequirementsError,
)
from tests.registry.activities.conftest import activities_of


def test_it_is_seen_from_its_start_to_its_end(activities: Activities, root: Path) -> None:
    other = activities_of(root)
    with activities.start(kind="image", subject="digits:3") as activity:
        assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", activity.id)
        seen = other.get(activity.id)
        assert (seen.kind, seen.subject, seen.state, seen.phase) == (
            "image", "digits:3", "running", "",
        )  # fmt: skip
        assert (seen.cause, seen.ended_at) == (None, None)
        activity.phase("Packing", total=100)
        activity.log("packed model.onnx")
        seen = other.get(activity.id)
        assert (seen.phase, seen.done, seen.total) == ("Packing", 0, 100)
        assert other.log(activity.id).endswith(b"Z packed model.onnx\n")
        activity.advance(40)
        activity.advance(60)
    seen = other.get(activity.id)
    assert (seen.state, seen.cause, seen.phase, seen.done, seen.total) == (
        "succeeded", None, "Packing", 100, 100,
    )  # fmt: skip
    assert seen.ended_at is not None
    assert other.log(activity.id).endswith(b"Z succeeded\n")


def test_failure_has_its_cause_and_is_passed_on(activities: Activities) -> None:
    with (
        pytest.raises(RequirementsError),
        activities.start(kind="image", subject="i") as activity,
    ):
        raise RequirementsError("no wheel of torch\n for\x1b[2J linux/arm64")
    seen = activities.get(activity.id)
    assert (seen.state, seen.cause) == ("failed", r"no wheel of torch for\x1b[2J linux/arm64")
    assert activities.log(activity.id).endswith(b"Z failed: " + str(seen.cause).encode() + b"\n")


@pytest.mark.parametrize(
    ("error", "state", "cause"),
    [
        (ValueError("/root/secret"), "failed", "stopped by ValueError"),
        (FileNotFoundError(2, "No such file", "/root/x"), "failed", "No such file"),
        (OSError(), "failed", "OSError"),
        (KeyboardInterrupt(), "cancelled", "interrupted"),
        (SystemExit(1), "failed", "stopped by SystemExit"),
        (CancelledError("cancelled on request"), "cancelled", "cancelled on request"),
    ],
)
def test_other_errors_do_not_tell_what_is_not_for_all(
    activities: Activities, error: BaseException, state: str, cause: str
) -> None:
    with (
        pytest.raises(type(error)),
        activities.start(kind="image", subject="i") as activity,
    ):
        raise error
    seen = activities.get(activity.id)
    assert (seen.state, seen.cause) == (state, cause)


def test_cancel_ends_it_at_its_next_point_of_cancel(activities: Activities, root: Path) -> None:
    other = activities_of(root)

    def work() -> None:
        with activities.start(kind="push", subject="i") as activity:
            activity.check()
            assert other.cancel(activity.id).is_running
            activity.phase("Pushing")

    with pytest.raises(CancelledError):
        work()
    (seen,) = activities.list()
    assert (seen.state, seen.cause, seen.phase) == ("cancelled", "cancelled on request", "Pushing")
    with pytest.raises(ImmutableError, match="ended already: cancelled"):
        activities.cancel(seen.id)


def test_once_cancelled_every_callback_says_so(activities: Activities) -> None:
    with activities.start(kind="push", subject="i") as activity:
        activities.cancel(activity.id)
        with pytest.raises(CancelledError):
            activity.phase("Next")
        with pytest.raises(CancelledError):
            activity.check()
        with pytest.raises(CancelledError):
            activity.advance(1)


def test_a_cancel_that_comes_too_late_changes_nothing(activities: Activities) -> None:
    with activities.start(kind="push", subject="i") as activity:
        activities.cancel(activity.id)
    assert activities.get(activity.id).state == "succeeded"


def test_the_callback_is_told_of_phases_progress_and_end(activities: Activities) -> None:
    said: list[Activity] = []
    with activities.start(kind="image", subject="i", on_change=said.append) as activity:
        activity.phase("Resolving")
        activity.phase("Packing", total=10)
        activity.advance(10)
    assert [(a.phase, a.total, a.state) for a in said] == [
        ("Resolving", 0, "running"),
        ("Packing", 10, "running"),
        ("Packing", 10, "succeeded"),
    ]
    assert said[-1].done == 10


def test_lists_are_newest_first_and_by_kind(activities: Activities) -> None:
    made = []
    for kind in ("image", "push", "image"):
        with activities.start(kind=kind, subject="i") as activity:
            made.append(activity.id)
    assert [a.id for a in activities.list()] == made[::-1]
    assert [a.id for a in activities.list(kind="image")] == [made[2], made[0]]
    assert [a.id for a in activities.list(limit=1)] == [made[2]]
    assert activities.list(running_only=True) == []
    with activities.start(kind="image", subject="i") as activity:
        assert [a.id for a in activities.list(running_only=True)] == [activity.id]


def test_an_id_may_be_cut_while_it_says_which(root: Path) -> None:
    randoms = iter(["3f9a1c", "3f9b00", "700000"])
    activities = activities_of(root, lambda: "2026-11-26T15:22:33Z")
    activities._random_hex = lambda _: next(randoms)
    for _ in range(3):
        with activities.start(kind="image", subject="i"):
            pass
    assert activities.get("20261126T152233-7").id == "20261126T152233-700000"
    assert activities.get("20261126T152233-3f9a1c").id == "20261126T152233-3f9a1c"
    with pytest.raises(NotFoundError, match="several activities begin with"):
        activities.get("20261126T152233-3f9")
    for call in (activities.get, activities.log, activities.cancel):
        with pytest.raises(NotFoundError, match="there is no activity 2027"):
            call("2027")


@pytest.mark.parametrize("ref", ["", "../../etc/passwd", "%", "a/b", "x' OR 1", "\0", "_" * 200])
def test_an_id_that_is_none_is_refused(activities: Activities, ref: str) -> None:
    with activities.start(kind="image", subject="i"):
        pass
    for call in (activities.get, activities.log, activities.cancel):
        with pytest.raises((InvalidNameError, NotFoundError)):
            call(ref)


def test_equal_ids_are_not_given_twice(root: Path) -> None:
    randoms = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    activities = activities_of(root, lambda: "2026-11-26T15:22:33Z")
    activities._random_hex = lambda _: next(randoms)
    for _ in range(2):
        with activities.start(kind="image", subject="i"):
            pass
    assert [a.id[-6:] for a in activities.list()] == ["bbbbbb", "aaaaaa"]


def test_the_subject_is_one_safe_line(activities: Activities) -> None:
    with activities.start(kind="push", subject="a\nb\x1b]0;x\x07" + "y" * 500) as activity:
        pass
    seen = activities.get(activity.id)
    assert seen.subject.startswith(r"a b\x1b]0;x\x07yyy")
    assert len(seen.subject) == 256
    with pytest.raises(InvalidNameError), activities.start(kind="no kind", subject=""):
        pass


def test_the_newest_are_kept_with_their_logs(
    activities: Activities, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEPT == 500
    monkeypatch.setattr("registry.activities.rows.KEPT", 5)
    (root / "activities").mkdir()
    (root / "activities" / "20200101T000000-aaaaaa.log").write_text("of no row")
    made = []
    with activities.start(kind="image", subject="the oldest, which runs") as oldest:
        for number in range(10):
            with activities.start(kind="image", subject=str(number)) as activity:
                activity.log("here")
                made.append(activity.id)
        left = {a.id for a in activities.list()}
        assert left == {*made[-5:], oldest.id}
    files = {path.stem for path in (root / "activities").iterdir() if path.suffix == ".log"}
    assert files == {*made[-5:], oldest.id}
    assert not [path for path in (root / "activities").iterdir() if path.suffix != ".log"]
