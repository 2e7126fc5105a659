"""What the driver needs of a board."""

from __future__ import annotations

from typing import Any, Protocol

Array = Any


class Buffer(Protocol):
    """Contiguous memory. ``beats``: uint64, as the processor sees it; ``address``: for the DMA."""

    beats: Array
    address: int

    def flush(self, beats: int) -> None:
        """What the processor wrote into the first ``beats`` reaches memory."""

    def invalidate(self, beats: int) -> None:
        """The processor sees what the logic wrote into the first ``beats``."""

    def free(self) -> None:
        """Idempotent; raises nothing."""


class Hardware(Protocol):
    """A board. Every method may raise BoardError.

    ``name``: as pynq says it; ``idcode``: what its silicon says of itself, None where nobody can
    ask; ``is_simulated``; ``seconds_per_clock``: real time that a clock of the logic takes, for
    deadlines; ``lock_name``: processes with one name share the board.
    """

    name: str
    idcode: int | None
    is_simulated: bool
    seconds_per_clock: float
    lock_name: str

    def read(self, address: int) -> int:
        """A 32-bit register."""

    def write(self, address: int, value: int) -> None:
        """A 32-bit register."""

    def allocate(self, beats: int) -> Buffer:
        """Raises CapacityError where contiguous memory is exhausted."""

    def cma_bytes(self) -> int | None:
        """Contiguous memory of the whole board, used or not; None where nobody knows."""

    def download(self, bit: bytes, hwh: bytes, name: str) -> None:
        """Configure the logic; ``name`` is of the content."""

    def loaded(self) -> str | None:
        """The name of the content that is loaded for certain; None where nobody knows. It reads no
        address of the logic."""

    def describe(self, bit: bytes, hwh: bytes, name: str) -> None:
        """The design is loaded already: make it known, without a download."""

    def state(self) -> str | None:
        """Of the FPGA manager: "operating" where it works; None where nobody knows."""
