"""What can go wrong with an accelerator; every message is one line that says what to do.

FpgaError
├── ModelError        the model cannot be compiled (names the node and what is supported)
├── DataError         a file of inputs that cannot be read, or does not fit the model
├── ProgramError      a program, packet or bundle that breaks the engine's contract
├── CapacityError     it does not fit: engine memories, or the board's contiguous memory
├── ToolError         Verilator, a compiler or a synthesis tool is missing or failed
└── BoardError        the board
    ├── BitstreamError    wrong part, wrong build, simulation image on a real board, not loaded
    ├── EngineError       the engine or the DMA reports an error
    ├── DeadlineError     no answer in time; the board was reset
    └── BusyError         another process uses the board
"""

from __future__ import annotations


class FpgaError(Exception):
    """The base of all."""


class ModelError(FpgaError):
    """The model cannot be compiled."""


class DataError(FpgaError):
    """A file of inputs cannot be read, or does not fit the model."""


class ProgramError(FpgaError):
    """A program, packet or bundle breaks the engine's contract."""


class CapacityError(FpgaError):
    """Something does not fit into a memory."""


class ToolError(FpgaError):
    """A tool is missing or failed."""


class BoardError(FpgaError):
    """The board refuses, fails or does not answer."""


class BitstreamError(BoardError):
    """What is loaded, or to be loaded, is not the hardware that the image needs."""


class EngineError(BoardError):
    """The engine or its DMA reports an error."""


class DeadlineError(BoardError):
    """No answer in time."""


class BusyError(BoardError):
    """Another process uses the board."""
