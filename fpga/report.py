"""report.json of a compiled model: what it costs, layer by layer, on which hardware. The compiler
writes it (fpga/build.py); here it is read, without the compiler's libraries, and from anyone.

report = read(folder)
report.latency_us, report.samples_per_s
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fpga.errors import ProgramError

FILE = "report.json"
VERSION = 1
MOST_BYTES = 16 << 20
MOST_LAYERS = 1 << 12


class Layer(msgspec.Struct, frozen=True):
    """As fpga/compiler/report.py has it."""

    name: str
    operation: str
    macs: int
    cycles: int
    utilisation: float
    weight_bytes: int
    is_streamed: bool
    limit: str
    first: int
    last: int


class Accuracy(msgspec.Struct, frozen=True):
    """Of int8 beside float, on inputs that the compiler did not calibrate with."""

    rows: int
    same_answer: float
    largest_error: float
    mean_error: float
    float_right: float | None = None
    int8_right: float | None = None


class Proof(msgspec.Struct, frozen=True):
    """What was proved of all sums that can occur."""

    channels: int
    sums: int
    sums_between: int
    adds: int
    pairs_differing: int
    largest_sum: int


class Hardware(msgspec.Struct, frozen=True):
    """What it was compiled for. ``build``: of the engine; ``provenance``: of the bitstream."""

    board: str
    part: str
    provenance: str
    lanes: int
    build: str
    clock_mhz: float


class Report(msgspec.Struct, frozen=True):
    """``words``: used and there, of each memory; ``macs``: of a sample; ``calibration``: inputs it
    was quantised with, 0 for a model that came quantised; ``tried``: inputs on which the emulated
    engine gave what the integer network gives."""

    name: str
    hardware: Hardware
    layers: tuple[Layer, ...]
    macs: int
    words: dict[str, tuple[int, int]]
    proof: Proof
    is_interleaved: bool
    latency_cycles: int
    interval_cycles: float
    utilisation: float
    load_bytes: int
    stream_bytes: int
    max_batch: int
    cma_bytes: int
    tail: tuple[str, ...] = ()
    calibration: int = 0
    tried: int = 0
    accuracy: Accuracy | None = None
    v: int = VERSION

    @property
    def latency_us(self) -> float:
        """Of one sample, in the engine; without the time of driver and memory."""
        return self.latency_cycles / self.hardware.clock_mhz

    @property
    def samples_per_s(self) -> float:
        """When samples follow each other."""
        return self.hardware.clock_mhz * 1e6 / self.interval_cycles


def write(report: Report, folder: Path) -> None:
    """Into the folder of a compiled model."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def read(folder: Path) -> Report:
    """Raises ProgramError for what is no report."""
    try:
        if (folder / FILE).stat().st_size > MOST_BYTES:
            raise ProgramError(f"{FILE} is larger than {MOST_BYTES >> 20} MiB")
        return decoded((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise ProgramError(f"there is no {FILE} with this compiled model") from None
    except OSError as error:
        raise ProgramError(f"{FILE} cannot be read: {error.strerror}") from None


def decoded(data: bytes) -> Report:
    """Of the file's bytes. Raises ProgramError for what is no report."""
    try:
        found = msgspec.json.decode(data, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProgramError(f"{FILE} is malformed: {str(error)[:200]}") from None
    if found.v != VERSION:
        raise ProgramError(f"{FILE} is of version {found.v}; compile the model anew")
    if (
        len(found.layers) > MOST_LAYERS
        or found.hardware.clock_mhz <= 0
        or (found.interval_cycles <= 0 or found.latency_cycles < 0)
    ):
        raise ProgramError(f"{FILE} has figures that make no sense")
    return found
