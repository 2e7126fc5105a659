"""The output FIFO: when a word may begin, and when the last beat is out.

A word has a place from its first tap to when it leaves. It leaves when it is written, the one
before has left, and it is known whether it is the last: another word has begun, or nothing more is
to come.
"""

from __future__ import annotations

from fpga.timing.pipeline import OUTPUT_WORDS, ROOM_TOLD
from fpga.timing.walk import Door, Walk


class Output:
    """The words of a run that go out, in order, taken by whoever receives without a pause."""

    def __init__(self, word_beats: int) -> None:
        self.word_beats = word_beats
        self.firsts: list[int] = []
        self.written: list[int] = []
        self.leaves: list[int] = []  # of all words whose next one has begun, as far as needed

    @property
    def is_empty(self) -> bool:
        return not self.written

    def take(self, going: Walk, after: int) -> bool:
        """Takes the words of a slot, written `after` their last tap; or none of them and False, if
        one would find no room when it begins."""
        known, left = len(self.written), len(self.leaves)
        self.firsts += going.firsts.tolist()
        self.written += (going.lasts + after).tolist()
        for word in range(max(known, OUTPUT_WORDS), len(self.firsts)):
            if self.firsts[word] < self._room(word):
                del self.firsts[known:], self.written[known:], self.leaves[left:]
                return False
        return True

    def door(self, after: int) -> Door:
        """For words that come one by one, written `after` their last tap."""

        def room() -> int:
            return self._room(len(self.firsts))

        def note(first: int, last: int) -> None:
            self.firsts.append(first)
            self.written.append(last + after)

        return Door(room, note)

    def last_beat(self, all_issued: int) -> int:
        """The clock of the last beat; -1 without output. all_issued: the clock from which it is
        known that no slot is to come."""
        if self.is_empty:
            return -1
        self._leave(len(self.written) - 1)
        free = self.leaves[-1] + self.word_beats if self.leaves else 0
        return max(self.written[-1], free, all_issued) + self.word_beats

    def _room(self, word: int) -> int:
        """From which clock on the word may begin. The words before it have begun."""
        if word < OUTPUT_WORDS:
            return 0
        self._leave(word - OUTPUT_WORDS + 1)
        return self.leaves[word - OUTPUT_WORDS] + ROOM_TOLD

    def _leave(self, count: int) -> None:
        """When the first `count` words leave. The one after each has begun."""
        for word in range(len(self.leaves), count):
            free = self.leaves[word - 1] + self.word_beats if word else 0
            self.leaves.append(max(self.written[word], free, self.firsts[word + 1] + 1))
