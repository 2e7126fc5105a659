"""What to compile for an FPGA, as one process tells another, and what it takes.

CompileOrder(model="/.../model", calibration="/.../calibration.npz", lanes=8)
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime.errors import NoCompilerError

if TYPE_CHECKING:
    from fpga.build import Order

PACKAGES = ("numpy", "onnx", "onnxruntime")
PROOF = "some inputs on the emulated engine gave what the integer network gives"
"""Of an image whose model was compiled: fpga.build.build has tried it."""


class CompileOrder(msgspec.Struct, frozen=True):
    """Paths are absolute; ``model`` is a folder with one .onnx file. The rest is as in
    fpga.build.Order; a bitstream has a description and a provenance."""

    model: str
    lanes: int
    board: str
    is_tail_on_host: bool = False
    max_batch: int | None = None
    calibration: str | None = None
    held_out: str | None = None
    bitstream: str | None = None
    hwh: str | None = None
    provenance: str | None = None

    def order(self, source: Path) -> Order:
        """For the compiler. ``source``: the .onnx file."""
        from fpga.build import Order  # onnx: 0.3 s
        from fpga.compiler.compilation import MOST_BATCH
        from fpga.design import Given

        given = None
        if self.bitstream is not None:
            assert self.hwh is not None
            assert self.provenance is not None
            given = Given(Path(self.bitstream), Path(self.hwh), self.provenance)
        return Order(
            source=source,
            calibration=None if self.calibration is None else Path(self.calibration),
            held_out=None if self.held_out is None else Path(self.held_out),
            lanes=self.lanes,
            board=self.board,
            is_tail_on_host=self.is_tail_on_host,
            max_batch=MOST_BATCH if self.max_batch is None else self.max_batch,
            bitstream=given,
        )


def check_installed() -> None:
    """Raises NoCompilerError, saying what to install."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise NoCompilerError(
            f"compiling for an FPGA needs {' and '.join(missing)}, which this Python does not have:"
            " pip install 'inferry[registry,scoring,onnx]'"
        )


def check_files(order: Order, input_name: str) -> None:
    """All that is said of an order before its model is looked at. Raises FpgaError."""
    from fpga.build import design_of
    from fpga.dataset import read_inputs, read_labelled

    design_of(order)
    if order.calibration is not None:
        read_inputs(order.calibration, input_name)
    if order.held_out is not None:
        read_labelled(order.held_out, input_name)
