"""A compiled model: the contract between compiler and driver, a folder ``fpga/`` in a bundle.

    program.json   everything but the arrays; schema version 1
    load.bin       beats of the commands DESC, PARAM and WEIGHT: sent once, as one packet
    stream.bin     beats of whole WSTREAM commands, in the order in which a sample needs them; no
                   such file where there are none
    design.bit     the hardware; design.hwh describes it

Numpy and json only, Python 3.8: a board reads it. What is read is checked as if an enemy wrote it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fpga.errors import ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import Descriptor, check_program, decode
from fpga.isa.shape import BANK_OUT, EngineShape

VERSION = 1
FOLDER = "fpga"
PROGRAM, LOAD, STREAM, BIT, HWH = (
    "program.json", "load.bin", "stream.bin", "design.bit", "design.hwh",
)  # fmt: skip
LAYOUTS = ("NC", "NCHW", "NHWC")
PROVENANCES = ("simulation", "vivado", "openxc7", "none")
INPUT = -1
"""In ``order``: the input's place among the streamed weights."""
MOST_BYTES = 1 << 30
MOST_JSON_BYTES = 16 << 20
MOST_DMA_BYTES = (1 << 26) - 1
"""Of a packet: the DMA counts its bytes in 26 bits."""
Array = Any


@dataclass(frozen=True)
class Port:
    """An input or output of the model.

    shape: without the batch, in the model's own layout: (C,), (C, H, W) or (H, W, C). The engine
    has int8 values: real = scale * (int8 - zero_point).
    """

    name: str
    shape: tuple[int, ...]
    layout: str
    scale: float
    zero_point: int

    @property
    def pixels(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        if self.layout == "NC":
            return 1, 1, self.shape[0]
        if self.layout == "NCHW":
            return self.shape[1], self.shape[2], self.shape[0]
        return self.shape[0], self.shape[1], self.shape[2]

    def words(self, n: int) -> int:
        """Activation words of a sample on an engine of n lanes."""
        height, width, channels = self.pixels
        return height * width * -(-channels // n)


@dataclass(frozen=True)
class Bitstream:
    """Where design.bit comes from, and what it is for. sha256: of the file, "" without one."""

    provenance: str = "none"
    part: str = ""
    sha256: str = ""
    boards: tuple[str, ...] = ()
    clock_mhz: float = 100.0


@dataclass(frozen=True)
class Artifact:
    """A compiled model.

    build: 32 hex digits, what the BUILD registers shall say ("" where any will do). order: of one
    sample, INPUT or the index of a WSTREAM command. latency_cycles: of a run of one sample;
    interval_cycles: of each further one. cma_bytes: what the driver may allocate on the board.
    """

    name: str
    shape: EngineShape
    build: str
    input: Port
    output: Port
    load: Array
    stream: Array
    order: tuple[int, ...]
    max_batch: int
    latency_cycles: int
    interval_cycles: float
    cma_bytes: int
    bitstream: Bitstream = field(default_factory=Bitstream)
    tail: tuple[str, ...] = ()
    """Steps on the host after the engine: flatten, softmax, sigmoid, argmax."""

    def __repr__(self) -> str:
        return (
            f"Artifact({self.name!r}, n={self.shape.n}, {self.input.shape} to {self.output.shape})"
        )

    @property
    def input_words(self) -> int:
        return self.input.words(self.shape.n)

    @property
    def output_words(self) -> int:
        return self.output.words(self.shape.n)

    def program(self) -> list[Descriptor]:
        """The descriptors in `load`. Raises ProgramError without a whole program."""
        for command in packet.parse(self.load, self.shape):
            if command.op == packet.DESC and command.address == 0:
                return [decode(beats) for beats in command.payload.reshape(-1, 8)]
        raise ProgramError("the load packet holds no program")

    def blocks(self) -> list[Array]:
        """The WSTREAM commands, headers included."""
        found, at = [], 0
        for command in packet.parse(self.stream, self.shape):
            end = at + 1 + len(command.payload)
            found.append(self.stream[at:end])
            at = end
        return found

    def digest(self) -> str:
        """sha256 of all that decides the answers, hexadecimal."""
        text = json.dumps(_fields(replace(self, bitstream=Bitstream())), sort_keys=True)
        found = hashlib.sha256(text.encode())
        for part in (self.load, self.stream):
            found.update(np.ascontiguousarray(part, "<u8").tobytes())
        return found.hexdigest()

    def model_number(self) -> int:
        """What the register MODEL says while this is loaded; never 0."""
        return int(self.digest()[:8], 16) or 1

    def quantise(self, values: Array) -> Array:
        """Real values [B, *shape] to the beats of INPUT payloads, uint64 [B, words * N / 8].

        `rint(value / scale) + zero_point`, saturated, as QuantizeLinear has it. Raises ProgramError
        for another shape, and for values that are no numbers.
        """
        values = np.asarray(values, np.float32)
        if values.ndim < 1 or tuple(values.shape[1:]) != self.input.shape:
            raise ProgramError(
                f"input {self.input.name}: shape [N, {', '.join(map(str, self.input.shape))}] is"
                f" needed, not {list(values.shape)}"
            )
        if not np.isfinite(values).all():
            raise ProgramError(f"input {self.input.name} holds nan or infinity")
        number = np.rint(values / np.float32(self.input.scale)) + self.input.zero_point
        return self.pack(np.clip(number, -128, 127).astype(np.int8))

    def pack(self, values: Array) -> Array:
        """int8 [B, *shape] to beats [B, words * N / 8]; lanes without a channel are 0."""
        height, width, channels = self.input.pixels
        samples, n = len(values), self.shape.n
        if self.input.layout == "NCHW":
            values = values.transpose(0, 2, 3, 1)
        tiles = -(-channels // n)
        words = np.zeros((samples, height, width, tiles * n), np.int8)
        words[..., :channels] = values.reshape(samples, height, width, channels)
        return words.reshape(samples, -1).view("<u8")

    def unpack(self, beats: Array) -> Array:
        """Beats [B, words * N / 8] of the output to int8 [B, *shape]."""
        height, width, channels = self.output.pixels
        samples = len(beats)
        lanes = np.ascontiguousarray(beats, "<u8").view(np.int8)
        values = lanes.reshape(samples, height, width, -1)[..., :channels]
        if self.output.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values).reshape((samples, *self.output.shape))

    def dequantise(self, beats: Array) -> Array:
        """Beats of the output to float32 [B, *shape], with the host's last steps done."""
        whole = self.unpack(beats).astype(np.float32) - np.float32(self.output.zero_point)
        values = whole * np.float32(self.output.scale)
        for step in self.tail:
            values = _STEPS[step](values)
        return values

    def run_packet(self, payloads: Array) -> Array:
        """The packet of a RUN: payloads are uint64 [B, words * N / 8]."""
        parts = [packet.run(len(payloads))]
        blocks = self.blocks()
        for payload in payloads:
            for place in self.order:
                whole = (
                    packet.command(packet.INPUT, 0, payload) if place == INPUT else blocks[place]
                )
                parts.append(whole)
        return packet.join(parts)

    def run_bytes(self, samples: int) -> int:
        """The size of that packet."""
        sample = 1 + self.input_words * self.shape.word_beats + len(self.stream)
        return 8 * (1 + samples * sample)

    def save(self, folder: Path) -> None:
        """program.json, load.bin and stream.bin; the bitstream is its maker's."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOAD).write_bytes(np.ascontiguousarray(self.load, "<u8").tobytes())
        stream = np.ascontiguousarray(self.stream, "<u8").tobytes()
        if stream:
            (folder / STREAM).write_bytes(stream)
        elif (folder / STREAM).exists():
            (folder / STREAM).unlink()
        document = {"v": VERSION, "digest": self.digest(), **_fields(self)}
        (folder / PROGRAM).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> Artifact:
    """A compiled model that `save` wrote. Raises ProgramError, saying what is wrong."""
    try:
        if (folder / PROGRAM).stat().st_size > MOST_JSON_BYTES:
            raise ProgramError(f"{PROGRAM} is larger than {MOST_JSON_BYTES >> 20} MiB")
        document = json.loads((folder / PROGRAM).read_bytes())
        beats = _beats(folder / LOAD)
        stream = _beats(folder / STREAM) if (folder / STREAM).exists() else np.zeros(0, "<u8")
    except FileNotFoundError as error:
        raise ProgramError(f"no {Path(str(error.filename)).name} in the FPGA artifact") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ProgramError(f"the FPGA artifact cannot be read: {type(error).__name__}") from None
    if not isinstance(document, dict) or document.get("v") != VERSION:
        raise ProgramError(f"an FPGA artifact of version {VERSION} is needed; compile it anew")
    try:
        artifact = _artifact(document, beats, stream)
    except ProgramError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ProgramError(f"program.json is malformed: {error}") from None
    _check(artifact)
    if document.get("digest") != artifact.digest():
        raise ProgramError("program.json, load.bin and stream.bin do not belong together")
    return artifact


def _beats(path: Path) -> Array:
    if path.stat().st_size > MOST_BYTES:
        raise ProgramError(f"{path.name} is larger than {MOST_BYTES >> 20} MiB")
    data = path.read_bytes()
    if len(data) % 8:
        raise ProgramError(f"{path.name} is no whole number of 8-byte beats")
    return np.frombuffer(data, "<u8")


def _fields(artifact: Artifact) -> dict[str, Any]:
    """What program.json holds."""
    return {
        "model": artifact.name,
        "shape": artifact.shape.as_dict(),
        "build": artifact.build,
        "bitstream": {**asdict(artifact.bitstream), "boards": list(artifact.bitstream.boards)},
        "input": _port_fields(artifact.input),
        "output": _port_fields(artifact.output),
        "order": list(artifact.order),
        "max_batch": artifact.max_batch,
        "latency_cycles": artifact.latency_cycles,
        "interval_cycles": artifact.interval_cycles,
        "cma_bytes": artifact.cma_bytes,
        "tail": list(artifact.tail),
    }


def _port_fields(port: Port) -> dict[str, Any]:
    return {**asdict(port), "shape": list(port.shape)}


def _artifact(document: dict[str, Any], load_beats: Array, stream: Array) -> Artifact:
    bits = document["bitstream"]
    return Artifact(
        name=_text(document["model"]),
        shape=EngineShape.from_dict(document["shape"]),
        build=_text(document["build"]),
        input=_port(document["input"]),
        output=_port(document["output"]),
        load=load_beats,
        stream=stream,
        order=tuple(_whole(place, INPUT, 1 << 20) for place in document["order"]),
        max_batch=_whole(document["max_batch"], 1, 1 << 20),
        latency_cycles=_whole(document["latency_cycles"], 0, 1 << 60),
        interval_cycles=_real(document["interval_cycles"]),
        cma_bytes=_whole(document["cma_bytes"], 0, 1 << 40),
        bitstream=Bitstream(
            _text(bits["provenance"]), _text(bits["part"]), _text(bits["sha256"]),
            tuple(_text(board) for board in bits["boards"]), _real(bits["clock_mhz"]),
        ),
        tail=tuple(_text(step) for step in document["tail"]),
    )  # fmt: skip


def _port(fields: dict[str, Any]) -> Port:
    port = Port(
        _text(fields["name"]), tuple(_whole(size, 1, 1 << 20) for size in fields["shape"]),
        _text(fields["layout"]), _real(fields["scale"]), _whole(fields["zero_point"], -128, 127),
    )  # fmt: skip
    if port.layout not in LAYOUTS or len(port.shape) != (1 if port.layout == "NC" else 3):
        raise ProgramError(f"program.json: {port.name} has layout {port.layout}, {port.shape}")
    if not 1e-37 < port.scale < 1e37:  # a float32, and no subnormal
        raise ProgramError(f"program.json: {port.name} has the scale {port.scale}")
    return port


def _check(artifact: Artifact) -> None:
    """What the driver trusts."""
    shape, bits = artifact.shape, artifact.bitstream
    limits = {
        packet.DESC: shape.d_words, packet.PARAM: shape.p_words, packet.WEIGHT: shape.w_words,
        packet.WSTREAM: shape.w_words,
    }  # fmt: skip
    for name, beats, is_stream in ((LOAD, artifact.load, False), (STREAM, artifact.stream, True)):
        for command in packet.parse(beats, shape):
            if command.op not in limits or is_stream != (command.op == packet.WSTREAM):
                raise ProgramError(f"{name} holds a command that does not belong there")
            words = len(command.payload) // packet.unit_beats(command.op, shape)
            if command.address + words > limits[command.op]:
                raise ProgramError(f"{name} writes beyond a memory of the engine")
    _check_order(artifact)
    program = artifact.program()
    check_program(program, shape)
    if artifact.input_words > shape.x_half:
        raise ProgramError(f"an input of {artifact.input_words} words for {shape.x_half}")
    words = sum(layer.result_words for layer in program if layer.dst_bank == BANK_OUT)
    if words != artifact.output_words:
        raise ProgramError(f"the program gives {words} words, not {artifact.output_words}")
    if artifact.run_bytes(artifact.max_batch) > MOST_DMA_BYTES:
        raise ProgramError(f"a run of {artifact.max_batch} samples is more than a DMA transfer")
    if artifact.build and (
        len(artifact.build) != 32 or set(artifact.build) - set("0123456789abcdef")
    ):
        raise ProgramError("program.json: `build` is 32 hexadecimal digits")
    if bits.provenance not in PROVENANCES:
        raise ProgramError(f"program.json: a bitstream from {bits.provenance!r}")
    if set(artifact.tail) - set(_STEPS):
        raise ProgramError(f"program.json: the host cannot do {', '.join(artifact.tail)}")


def _check_order(artifact: Artifact) -> None:
    blocks = [place for place in artifact.order if place != INPUT]
    if blocks and not len(artifact.stream):
        raise ProgramError(f"`order` has blocks, and there is no {STREAM} in the FPGA artifact")
    if artifact.order.count(INPUT) != 1 or blocks != list(range(len(artifact.blocks()))):
        raise ProgramError("program.json: `order` is not one input and every block once, in order")
    if len(blocks) != sum(layer.is_streamed for layer in artifact.program()):
        raise ProgramError("stream.bin does not hold one block for each streamed layer")


def _real(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1e18:
        raise ProgramError(f"program.json: {str(value)[:40]!r} is no number from 0 on")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1000:
        raise ProgramError(f"program.json: {str(value)[:40]!r} is no text")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ProgramError(f"program.json: {str(value)[:40]!r} is not a number {least}..{most}")
    return value


def _softmax(values: Array) -> Array:
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _argmax(values: Array) -> Array:
    return values.argmax(axis=1)


def _sigmoid(values: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * values))  # exp would overflow


def _flatten(values: Array) -> Array:
    return values.reshape(len(values), -1)


_STEPS = {"softmax": _softmax, "argmax": _argmax, "sigmoid": _sigmoid, "flatten": _flatten}
