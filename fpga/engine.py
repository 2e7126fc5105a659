"""Serves compiled models on an FPGA board: ``fpga.engine:FpgaEngine`` in bundle.json.

    model = FpgaEngine.load(Path("bundle/fpga/program.json"))
    model.run({"x": rows})                       # {"y": ...}; all rows in few packets
    model.close()

The board belongs to a process of its own (fpga/serving), in a Python that has pynq; this side needs
numpy alone, of any version. INFERRY_FPGA_BOARD says which board, INFERRY_FPGA_PYTHON which Python.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fpga.artifact import Artifact
from fpga.artifact import load as load_artifact
from fpga.errors import FpgaError, ProgramError
from fpga.serving import boards, interpreter
from fpga.serving.boards import Choice
from fpga.serving.child import FAR, NEAR, Child, Launch, Lost, Unsound
from fpga.serving.frames import Counts
from fpga.serving.keeper import Keeper
from scoring.errors import (
    EngineError,
    EngineLostError,
    EngineStartError,
    InputError,
    ModelLoadError,
)
from scoring.rows import Tensors
from scoring.signature import Signature, TensorSpec

logger = logging.getLogger("fpga")

Array = Any
BOARD, PYTHON = "INFERRY_FPGA_BOARD", "INFERRY_FPGA_PYTHON"
START_S = {boards.SIMULATED: 900.0, boards.EMULATED: 20.0}
"""How long opening a board may take. Verilator builds a simulated one that is not there yet."""
USUAL_START_S = 90.0
_PATH = re.compile(r"(?:[\w.-]*/)+[\w.+-]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a model runs. ``python``: drives the board; ``environ``: that process's."""

    choice: Choice
    python: str
    environ: Mapping[str, str]

    @classmethod
    def read(
        cls, environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists
    ) -> Settings:
        """Raises BoardError, saying what to set."""
        choice = boards.resolve(boards.parse(environ.get(BOARD) or boards.AUTO), exists)
        python = interpreter.choose(environ.get(PYTHON), needs_pynq=choice.needs_pynq)
        return cls(choice, python, interpreter.environment(environ, python))


class FpgaEngine:
    """One model on one board, which no other process has. See scoring's MortalModel."""

    is_exclusive = True
    platform = "inferry_fpga"
    """What the Open Inference Protocol says of it."""

    def __init__(self, artifact: Artifact, keeper: Keeper[Child]) -> None:
        self._artifact, self._keeper = artifact, keeper
        self.signature = signature_of(artifact)
        self._input, self._output = artifact.input.name, artifact.output.name

    def __repr__(self) -> str:
        return f"<FpgaEngine {self._artifact.name!r} {self._keeper!r}>"

    @classmethod
    def load(cls, path: Path, *, threads: int | None = None) -> FpgaEngine:
        """The compiled model whose program.json ``path`` is, on the board that the environment
        names. Raises ModelLoadError, and EngineStartError where there is no board for it."""
        return cls.on(path, os.environ)

    @classmethod
    def on(cls, path: Path, environ: Mapping[str, str]) -> FpgaEngine:
        """The same with another environment."""
        try:
            artifact = load_artifact(path.parent)
        except FpgaError as error:
            raise ModelLoadError(str(error)) from error
        try:
            settings = Settings.read(environ)
            launch = Launch(
                settings.python,
                path.parent.absolute(),
                str(settings.choice),
                settings.environ,
                FAR if settings.choice.kind == boards.REMOTE else NEAR,
            )
            keeper: Keeper[Child] = Keeper(
                partial(Child.start, launch, artifact),
                start_s=START_S.get(settings.choice.kind, USUAL_START_S),
            )
            keeper.begin()
        except FpgaError as error:
            raise EngineStartError(str(error)) from error
        return cls(artifact, keeper)

    @property
    def broken(self) -> str | None:
        """Why it cannot answer now."""
        broken = self._keeper.broken
        return None if broken is None else _without_paths(broken)

    @property
    def is_coming_back(self) -> bool:
        """Whether it is worth waiting."""
        return self._keeper.is_coming_back

    @property
    def restarts(self) -> int:
        """How often the board's process had to be started again."""
        return self._keeper.restarts

    @property
    def counts(self) -> Counts:
        """Of the board's process, as of the last run."""
        child = self._keeper.current
        return Counts() if child is None else child.counts

    def watch(self, on_change: Callable[[], None]) -> None:
        """``on_change()``, in any thread, when one of these may have changed."""
        self._keeper.on_change = on_change

    def run(self, inputs: Tensors) -> Tensors:
        """Raises InputError, EngineError, and EngineLostError where nobody could have answered."""
        if self._input not in inputs:
            raise InputError(f"input '{self._input}' is missing")
        values = np.asarray(inputs[self._input])
        if values.shape == (0, *self._artifact.input.shape):
            return {self._output: _outputs_of_nothing(self._artifact)}
        try:
            payloads = self._artifact.quantise(values)
        except ProgramError as error:
            raise InputError(str(error)) from None
        return {self._output: self._artifact.dequantise(self._beats(payloads))}

    def close(self) -> None:
        """End the board's process; the board stays as it is. Idempotent."""
        self._keeper.close()

    def _beats(self, payloads: Array) -> Array:
        child = self._keeper.child()
        if child is None:
            raise EngineLostError(self.broken or "the board was closed")
        try:
            size = child.opened.max_batch  # one packet each, so that no deadline gets long
            if len(payloads) <= size:
                return child.run(payloads)
            starts = range(0, len(payloads), size)
            return np.concatenate([child.run(payloads[at : at + size]) for at in starts])
        except Lost as error:
            self._keeper.lost(child, str(error))
            said = f"the process that drives the board was lost: {error}"
        except Unsound as error:
            self._keeper.unsound(child, str(error))
            said = _without_paths(str(error))
        except FpgaError as error:
            raise EngineError(_without_paths(str(error))) from error
        raise EngineLostError(said)


def signature_of(artifact: Artifact) -> Signature:
    """Rows of any number; what comes out, the host's last steps say."""
    outputs = _outputs_of_nothing(artifact)
    return Signature(
        (TensorSpec(artifact.input.name, "float32", ("N", *artifact.input.shape)),),
        (TensorSpec(artifact.output.name, str(outputs.dtype), ("N", *outputs.shape[1:])),),
    )


def _outputs_of_nothing(artifact: Artifact) -> Array:
    beats = np.zeros((1, artifact.output_words * artifact.shape.word_beats), "<u8")
    return artifact.dequantise(beats)[:0]


def _without_paths(text: str) -> str:
    """For clients."""
    return " ".join(_PATH.sub("", text).split())
