"""How large an engine is. All sizes are words (docs/reference/fpga-engine.md, section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fpga.errors import ProgramError

BANK_X, BANK_A, BANK_B, BANK_OUT = 0, 1, 2, 3
BANK_SHIFT = 14
WORD_MASK = (1 << BANK_SHIFT) - 1


@dataclass(frozen=True)
class EngineShape:
    """The parameters of the RTL.

    n: lanes, 8, 16 or 32. rq: requantisers, a divisor of n. x_words counts both halves.
    """

    n: int = 16
    rq: int = 4
    w_words: int = 1536
    p_words: int = 512
    d_words: int = 64
    x_words: int = 2048
    a_words: int = 1536
    b_words: int = 1024

    def __post_init__(self) -> None:
        if self.n not in (8, 16, 32):
            raise ProgramError(f"an engine has 8, 16 or 32 lanes, not {self.n}")
        if self.rq < 1 or self.n % self.rq:
            raise ProgramError(f"{self.rq} requantisers do not divide {self.n} lanes")
        for name, most in (
            ("w_words", 1 << 16),
            ("p_words", 1 << 16),
            ("d_words", 1 << 8),
            ("x_words", 1 << BANK_SHIFT),
            ("a_words", 1 << BANK_SHIFT),
            ("b_words", 1 << BANK_SHIFT),
        ):
            if not 2 <= getattr(self, name) <= most:
                raise ProgramError(f"{name} must be 2 to {most}")
        if self.x_words % 2:
            raise ProgramError("x_words counts two halves and must be even")

    @property
    def groups(self) -> int:
        """R: clocks that the requantisers take for a word."""
        return self.n // self.rq

    @property
    def x_half(self) -> int:
        return self.x_words // 2

    @property
    def word_beats(self) -> int:
        """Stream beats (8 bytes) of an activation word."""
        return self.n // 8

    @property
    def weight_beats(self) -> int:
        """Stream beats of a weight word."""
        return self.n * self.n // 8

    def bank_words(self, bank: int) -> int:
        """How many words a bank holds; the output stream holds any number."""
        return (self.x_words, self.a_words, self.b_words, 1 << BANK_SHIFT)[bank]

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EngineShape:
        """Raises ProgramError for fields that are missing, unknown or no integers."""
        names = set(cls.__dataclass_fields__)
        if set(fields) != names or not all(type(value) is int for value in fields.values()):
            raise ProgramError(
                "an engine's shape has the integers {}".format(", ".join(sorted(names)))
            )
        return cls(**fields)


SMALL = EngineShape(
    n=8, rq=4, w_words=512, p_words=256, d_words=64, x_words=256, a_words=256, b_words=256
)
"""For small networks, and quick to simulate."""

LARGE = EngineShape()
"""The largest that is meant for a 7z020 (PYNQ-Z1, PYNQ-Z2)."""


def address(bank: int, word: int) -> int:
    """The 16 bits of an activation address."""
    return bank << BANK_SHIFT | word
