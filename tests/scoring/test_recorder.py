"""A recorder that several models share."""

from __future__ import annotations

from collections.abc import Sequence

from scoring.recorder import RecorderParts


class Notes:
    """What the board would hold."""

    def __init__(self) -> None:
        self.running: list[bytes] = []

    def set_running(self, bodies: Sequence[bytes]) -> None:
        self.running = list(bodies)

    def clear_running(self) -> None:
        self.running = []


def test_one_models_batch_does_not_hide_anothers() -> None:
    notes = Notes()
    parts = RecorderParts(notes)
    slow, quick = parts.part(), parts.part()
    slow.set_running([b"a", b"b"])
    quick.set_running([b"c"])
    assert notes.running == [b"a", b"b", b"c"]
    quick.clear_running()
    assert notes.running == [b"a", b"b"]
    quick.set_running([b"d"])
    slow.clear_running()
    assert notes.running == [b"d"]
    quick.clear_running()
    assert notes.running == []
