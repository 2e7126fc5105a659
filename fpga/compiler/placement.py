"""Where each tensor lies: a bank and a place in it, for as long as somebody reads it.

The rules of the engine: a residual lies in another bank than the source; results do not go to X.
A tensor may take the place of the residual that it is made from, word for word. Found by trying:
two banks and a few places for each step, going back where it does not work out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fpga.compiler.steps import Step
from fpga.errors import CapacityError
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, EngineShape

MOST_TRIES = 200_000


@dataclass(frozen=True, slots=True)
class Place:
    """``words`` from ``base`` on; ``copies``: 2 where odd samples lie behind even ones."""

    bank: int
    base: int
    words: int
    copies: int = 1

    @property
    def end(self) -> int:
        return self.base + self.words * self.copies


def place(
    steps: Sequence[Step], words: dict[str, int], shape: EngineShape, source: str, *, copies: int
) -> dict[str, Place]:
    """A place for every tensor. The last step's result goes to the output.

    words: of each tensor; source: the model's input. Raises CapacityError.
    """
    if words[source] > shape.x_half:
        raise CapacityError(
            f"an input of {words[source]} words; the engine's X holds {shape.x_half} at a time:"
            " a larger x_words is needed, or a smaller input"
        )
    found = {source: Place(BANK_X, 0, words[source])}
    search = _Search(steps, words, shape, copies)
    if not search.go(0, found):
        largest = max(steps, key=lambda step: words.get(step.target, 0))
        raise CapacityError(
            f"activations do not fit: {largest.target} alone takes {words[largest.target]} words of"
            f" {shape.n} bytes, and the banks A and B have {shape.a_words} and {shape.b_words}: a"
            " smaller picture, or an engine with larger banks"
        )
    return search.found


class _Search:
    def __init__(
        self, steps: Sequence[Step], words: dict[str, int], shape: EngineShape, copies: int
    ) -> None:
        self._steps, self._words, self._shape, self._copies = steps, words, shape, copies
        self._last_use: dict[str, int] = {}
        for number, step in enumerate(steps):
            for name in step.reads:
                self._last_use[name] = number
        self._tries = 0
        self.found: dict[str, Place] = {}

    def go(self, number: int, placed: dict[str, Place]) -> bool:
        """Whether all from step ``number`` on find a place."""
        self._tries += 1
        if self._tries > MOST_TRIES:
            return False
        if number == len(self._steps):
            self.found = placed
            return True
        step = self._steps[number]
        if not self._is_allowed(step, placed):
            return False
        if number == len(self._steps) - 1:
            output = Place(BANK_OUT, 0, self._words[step.target])
            return self.go(number + 1, {**placed, step.target: output})
        if step.target in placed:  # another part of it
            return self.go(number + 1, placed)
        return any(
            self.go(number + 1, {**placed, step.target: place})
            for place in self._candidates(number, step, placed)
        )

    def _is_allowed(self, step: Step, placed: dict[str, Place]) -> bool:
        if step.residual is None:
            return True
        banks = placed[step.source].bank, placed[step.residual.tensor].bank
        return banks[0] != banks[1] and banks[1] in (BANK_A, BANK_B)

    def _is_live(self, name: str, number: int) -> bool:
        """Samples that run at once need all of it at once."""
        return self._copies > 1 or self._last_use.get(name, -1) >= number

    def _candidates(self, number: int, step: Step, placed: dict[str, Place]) -> list[Place]:
        size = self._words[step.target]
        found = []
        residual = step.residual and step.residual.tensor
        if residual and self._last_use[residual] == number and self._words[residual] == size:
            found.append(placed[residual])
        source = placed[step.source].bank
        banks = (BANK_A, BANK_B) if source != BANK_A else (BANK_B, BANK_A)
        for bank in banks:
            # Whoever is still read, now or later.
            taken = sorted(
                (place.base, place.end)
                for name, place in placed.items()
                if place.bank == bank and self._is_live(name, number)
            )
            base = _free(taken, size * self._copies, self._shape.bank_words(bank))
            if base is not None:
                found.append(Place(bank, base, size, self._copies))
        return found


def _free(taken: list[tuple[int, int]], size: int, limit: int) -> int | None:
    """The first place of ``size`` words between what is taken."""
    at = 0
    for base, end in taken:
        if base - at >= size:
            return at
        at = max(at, end)
    return at if limit - at >= size else None


def banks_used(places: dict[str, Place]) -> dict[int, int]:
    """The furthest word in each bank."""
    found: dict[int, int] = {}
    for each in places.values():
        if each.bank != BANK_OUT:
            found[each.bank] = max(found.get(each.bank, 0), each.end)
    return found
