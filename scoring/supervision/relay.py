"""Questions that one server process puts to all of its generation. Pure: no sockets, no clock.

number = relay.ask(asker=1, ask_id=7, asked=[1, 2])   # send Ask(number) to 1 and 2
relay.answer(number, child=2, payload=b"ok")                      # -> [(1, Answer(7, b"ok"))]
relay.gone(2); relay.give_up(number)                              # death, timeout
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scoring.supervision.link_messages import Answer, Answered

Sends = list[tuple[int, Answer | Answered]]
"""(child, message) pairs, to be sent in this order."""


@dataclass(slots=True)
class _Question:
    asker: int
    ask_id: int
    waiting: set[int]
    missing: int = 0


class Relay:
    """The questions under way."""

    def __init__(self) -> None:
        self._questions: dict[int, _Question] = {}
        self._asked = 0

    def __len__(self) -> int:
        return len(self._questions)

    def ask(self, *, asker: int, ask_id: int, asked: Iterable[int]) -> int:
        """A new question's number; ``asked`` should get it with that as their Ask's id."""
        self._asked += 1
        self._questions[self._asked] = _Question(asker, ask_id, set(asked))
        return self._asked

    def answer(self, number: int, child: int, payload: bytes) -> Sends:
        """A child answered; nothing when it is too late or was not asked."""
        question = self._questions.get(number)
        if question is None or child not in question.waiting:
            return []
        question.waiting.discard(child)
        answer = (question.asker, Answer(question.ask_id, payload))
        return [answer, *self._end_if_complete(number)]

    def gone(self, child: int) -> Sends:
        """A child died: it answers no more, and nobody waits for its questions."""
        sends: Sends = []
        for number, question in list(self._questions.items()):
            if question.asker == child:
                del self._questions[number]
            elif child in question.waiting:
                question.waiting.discard(child)
                question.missing += 1
                sends += self._end_if_complete(number)
        return sends

    def give_up(self, number: int) -> Sends:
        """The time for answers is over."""
        question = self._questions.get(number)
        if question is None:
            return []
        question.missing += len(question.waiting)
        question.waiting.clear()
        return self._end_if_complete(number)

    def _end_if_complete(self, number: int) -> Sends:
        question = self._questions[number]
        if question.waiting:
            return []
        del self._questions[number]
        return [(question.asker, Answered(question.ask_id, question.missing))]
