"""Engines by the name module:Class, for tests: "tests.scoring.fake_engine:FakeBoard".

A model is a file: JSON {"factor": 2.0, "board": PATH of a file that one process can have}. It
answers y = factor * x. The file PATH.state says how it is: "lost" (it comes back), "broken", none.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from scoring.errors import EngineLostError, EngineStartError, ModelLoadError
from scoring.rows import Tensors
from scoring.signature import Signature, TensorSpec

POLL_S = 0.01


class FakeBoard:
    """One of them for each board."""

    is_exclusive = True

    def __init__(self, factor: float, board: int, state: Path) -> None:
        self.signature = Signature(
            (TensorSpec("x", "float32", ("N",)),), (TensorSpec("y", "float32", ("N",)),)
        )
        self._factor = factor
        self._board = board
        self._state = state
        self._on_change: Callable[[], None] = lambda: None
        self._is_closed = threading.Event()
        self.broken: str | None = None
        self.is_coming_back = False
        self.restarts = 0
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    @classmethod
    def load(cls, path: Path, *, threads: int | None = None) -> FakeBoard:
        model = json.loads(path.read_bytes())
        if "factor" not in model:
            raise ModelLoadError("it has no factor")
        board = os.open(model["board"], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(board, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(board)
            raise EngineStartError("another process has the board") from None
        return cls(model["factor"], board, Path(model["board"] + ".state"))

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def run(self, inputs: Tensors) -> Tensors:
        self._look()
        if self.broken is not None:
            raise EngineLostError(self.broken)
        return {"y": inputs["x"] * self._factor}

    def close(self) -> None:
        if not self._is_closed.is_set():
            self._is_closed.set()
            self._thread.join()
            os.close(self._board)

    def _look_on(self) -> None:
        while not self._is_closed.wait(POLL_S):
            self._look()

    def _look(self) -> None:
        try:
            text = self._state.read_text()
        except FileNotFoundError:
            text = ""
        broken = f"the board is {text}" if text else None
        if broken != self.broken:
            self.restarts += broken is None
            self.is_coming_back = text == "lost"
            self.broken = broken
            self._on_change()


class Loadless:
    """No engine at all."""
