"""What ``inferry fpga build`` and ``inferry image create --kind fpga`` have in common: options, and
the order that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fpga.driver.parts import KINDS
from runtime.errors import NoBoardError

if TYPE_CHECKING:
    from fpga.build import Order

F = TypeVar("F", bound=Callable[..., object])
FILE = click.Path(path_type=Path)
LANES = ("8", "16", "32")
REAL = ("vivado", "openxc7")
_OPTIONS = (
    click.option(
        "--calibration",
        type=FILE,
        metavar="FILE",
        help="A hundred or more real inputs, .npz or .npy; for a model that is not int8 yet.",
    ),
    click.option(
        "--held-out",
        type=FILE,
        metavar="FILE",
        help="Other inputs x with their labels y (.npz), to compare float and int8 on.",
    ),
    click.option(
        "--lanes",
        type=click.Choice(LANES),
        default="16",
        show_default=True,
        help="Size of the engine; 32 fit no known board and are for simulation.",
    ),
    click.option(
        "--board",
        type=click.Choice(sorted(KINDS)),
        default="pynq-z2",
        show_default=True,
        help="Which board it is for.",
    ),
    click.option(
        "--tail-on-host",
        is_flag=True,
        help="Leave a Softmax, Sigmoid or ArgMax at the end to the processor.",
    ),
    click.option(
        "--bitstream",
        type=FILE,
        metavar="FILE",
        help="A real design.bit. [default: a simulation, which no real board takes]",
    ),
    click.option("--hwh", type=FILE, metavar="FILE", help="The design.hwh that belongs to it."),
    click.option("--provenance", type=click.Choice(REAL), help="Which tool made it."),
)
NAMES = (
    "calibration", "held_out", "lanes", "board", "tail_on_host", "bitstream", "hwh", "provenance",
)  # fmt: skip


def build_options(command: F) -> F:
    """Adds them to a command, which receives them by NAMES."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def need_compiler() -> None:
    """Raises NoCompilerError, saying what to install."""
    from runtime.fpga_compiler.order import check_installed  # loaded by what compiles only

    check_installed()


def need_numpy() -> None:
    """Raises NoBoardError, saying what to install."""
    if find_spec("numpy") is None:
        raise NoBoardError("simulating needs numpy: pip install 'inferry[scoring]'")


def check_bitstream(options: Mapping[str, Any]) -> None:
    """Raises UsageError where a bitstream is named by halves."""
    given = [name for name in ("bitstream", "hwh", "provenance") if options[name] is not None]
    if given and len(given) < 3:
        raise click.UsageError("--bitstream, --hwh and --provenance belong together")


def order_of(source: Path, options: Mapping[str, Any], max_batch: int | None) -> Order:
    """What to build of an .onnx file."""
    from runtime.fpga_compiler.order import CompileOrder

    def path(name: str) -> str | None:
        return None if options[name] is None else str(options[name])

    return CompileOrder(
        model="",
        lanes=int(options["lanes"]),
        board=options["board"],
        is_tail_on_host=options["tail_on_host"],
        max_batch=max_batch,
        calibration=path("calibration"),
        held_out=path("held_out"),
        bitstream=path("bitstream"),
        hwh=path("hwh"),
        provenance=options["provenance"],
    ).order(source)
