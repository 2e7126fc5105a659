"""One layer of a program, and its 512 bits (docs/reference/fpga-engine.md, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fpga.errors import ProgramError
from fpga.isa.hazard import overwritten, reads_only_padding
from fpga.isa.shape import BANK_OUT, BANK_SHIFT, BANK_X, WORD_MASK, EngineShape

DENSE, PER_TILE, MAX = 0, 1, 2
WORDS = 16
BEATS = 8


@dataclass(frozen=True)
class Descriptor:
    """A layer. Addresses hold the bank in bits 15:14; sizes are words, int8 values are signed."""

    kind: int = DENSE
    has_residual: bool = False
    has_fixed_weight: bool = False
    is_streamed: bool = False
    releases_x: bool = False
    is_last: bool = False
    stage: int = 0
    in_flight: int = 0
    src: int = 0
    src_alt: int = 0
    dst: int = 0
    dst_alt: int = 0
    res: int = 0
    res_alt: int = 0
    w_base: int = 0
    p_base: int = 0
    ih: int = 1
    iw: int = 1
    oh: int = 1
    ow: int = 1
    kh: int = 1
    kw: int = 1
    sy: int = 1
    sx: int = 1
    pt: int = 0
    pl: int = 0
    ict: int = 1
    oct: int = 1
    src_pixel: int = 1
    src_row: int = 1
    dst_pixel: int = 1
    res_pixel: int = 1
    pad: int = 0
    z1: int = 0
    lo1: int = -128
    hi1: int = 127
    zr: int = 0
    zo: int = 0
    lo: int = -128
    hi: int = 127
    ma: int = 0
    mb: int = 0
    sh: int = 0

    @property
    def src_bank(self) -> int:
        return self.src >> BANK_SHIFT

    @property
    def dst_bank(self) -> int:
        return self.dst >> BANK_SHIFT

    @property
    def res_bank(self) -> int:
        return self.res >> BANK_SHIFT

    @property
    def is_dense(self) -> bool:
        return self.kind == DENSE

    @property
    def taps(self) -> int:
        """K: reads, and clocks of the array, for a word of results."""
        return self.kh * self.kw * (self.ict if self.is_dense else 1)

    @property
    def weight_words(self) -> int:
        """Words of W that the layer reads."""
        if self.kind == MAX:
            return 0
        return 1 if self.has_fixed_weight else self.taps * self.oct

    @property
    def result_words(self) -> int:
        return self.oh * self.ow * self.oct


# word, lowest bit, bits, field; signed fields have negative bits
_FIELDS: tuple[tuple[int, int, int, str], ...] = (
    (0, 0, 1, "has_residual"),
    (0, 1, 1, "has_fixed_weight"),
    (0, 2, 1, "is_streamed"),
    (0, 3, 1, "releases_x"),
    (0, 4, 1, "is_last"),
    (0, 8, 4, "kind"),
    (0, 12, 4, "stage"),
    (0, 16, 6, "in_flight"),
    (1, 0, 16, "src"),
    (1, 16, 16, "src_alt"),
    (2, 0, 16, "dst"),
    (2, 16, 16, "dst_alt"),
    (3, 0, 16, "res"),
    (3, 16, 16, "res_alt"),
    (4, 0, 16, "w_base"),
    (4, 16, 16, "p_base"),
    (5, 0, 16, "ih"),
    (5, 16, 16, "iw"),
    (6, 0, 16, "oh"),
    (6, 16, 16, "ow"),
    (7, 0, 8, "kh"),
    (7, 8, 8, "kw"),
    (7, 16, 4, "sy"),
    (7, 20, 4, "sx"),
    (7, 24, 4, "pt"),
    (7, 28, 4, "pl"),
    (8, 0, 16, "ict"),
    (8, 16, 16, "oct"),
    (9, 0, 16, "src_pixel"),
    (9, 16, 16, "src_row"),
    (10, 0, 16, "dst_pixel"),
    (10, 16, 16, "res_pixel"),
    (11, 0, -8, "pad"),
    (11, 8, -8, "z1"),
    (11, 16, -8, "lo1"),
    (11, 24, -8, "hi1"),
    (12, 0, -8, "zr"),
    (12, 8, -8, "zo"),
    (12, 16, -8, "lo"),
    (12, 24, -8, "hi"),
    (13, 0, 24, "ma"),
    (13, 24, 8, "sh"),
    (14, 0, 24, "mb"),
)

# Narrower than their bits.
_RANGES = {
    "kind": (0, 2),
    "ih": (1, 1023),
    "iw": (1, 1023),
    "oh": (1, 1023),
    "ow": (1, 1023),
    "kh": (1, 15),
    "kw": (1, 15),
    "sy": (1, 15),
    "sx": (1, 15),
    "ict": (1, 1023),
    "oct": (1, 1023),
    "src_alt": (0, WORD_MASK),
    "dst_alt": (0, WORD_MASK),
    "res_alt": (0, WORD_MASK),
    "src_pixel": (0, WORD_MASK),
    "src_row": (0, WORD_MASK),
    "dst_pixel": (0, WORD_MASK),
    "res_pixel": (0, WORD_MASK),
    "sh": (0, 31),
}


def encode(descriptor: Descriptor) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The 8 beats of a descriptor. Raises ProgramError for a value out of its range."""
    words = [0] * WORDS
    for word, low, bits, name in _FIELDS:
        value = int(getattr(descriptor, name))
        width = abs(bits)
        least, most = _RANGES.get(
            name,
            (-(1 << (width - 1)), (1 << (width - 1)) - 1) if bits < 0 else (0, (1 << width) - 1),
        )
        if not least <= value <= most:
            raise ProgramError(f"descriptor: {name} = {value} is not in {least}..{most}")
        words[word] |= (value & ((1 << width) - 1)) << low
    return np.array(words, "<u4").view("<u8")


def decode(beats: Any) -> Descriptor:
    """The descriptor of 8 beats. Raises ProgramError for values out of their ranges."""
    words = np.asarray(beats, "<u8").view("<u4")
    if len(words) != WORDS:
        raise ProgramError(f"a descriptor has {BEATS} beats, not {len(words) // 2}")
    values: dict[str, Any] = {}
    for word, low, bits, name in _FIELDS:
        width = abs(bits)
        value = int(words[word]) >> low & ((1 << width) - 1)
        if bits < 0 and value >> (width - 1):
            value -= 1 << width
        values[name] = bool(value) if width == 1 else value
    descriptor = Descriptor(**values)
    encode(descriptor)
    return descriptor


def check_program(program: Sequence[Descriptor], shape: EngineShape) -> None:
    """Raises ProgramError, naming the layer, where a program leaves the engine's memories or breaks
    a rule that the hardware does not check itself."""
    if not 1 <= len(program) <= shape.d_words:
        raise ProgramError(f"a program has 1 to {shape.d_words} layers, not {len(program)}")
    for number, layer in enumerate(program):
        for fault in _faults(layer, shape, is_end=number == len(program) - 1):
            raise ProgramError(f"layer {number}: {fault}")
    if sum(layer.releases_x for layer in program) != 1:
        raise ProgramError("exactly one layer releases X")
    # A later stage reads its sample's X in a later round, wherever it stands in the program.
    reads = [
        (layer.stage, number) for number, layer in enumerate(program) if layer.src_bank == BANK_X
    ]
    if not reads or not program[max(reads)[1]].releases_x:
        raise ProgramError("the last layer that reads X releases it")


def _faults(layer: Descriptor, shape: EngineShape, is_end: bool) -> Iterable[str]:
    encode(layer)
    if layer.is_last != is_end:
        yield "`last` is for the last layer"
    if layer.src_bank == BANK_OUT:
        yield "the source cannot be the output"
    if layer.dst_bank == BANK_X:
        yield "results cannot go to X"
    if layer.has_residual and layer.res_bank in (BANK_X, BANK_OUT, layer.src_bank):
        yield "the residual comes from A or B, and not from the source's bank"
    if layer.kind == MAX and layer.is_streamed:
        yield "max has no weights to stream"
    if layer.w_base + layer.weight_words > shape.w_words:
        yield f"weights up to {layer.w_base + layer.weight_words} of {shape.w_words}"
    if layer.p_base + layer.oct * shape.groups > shape.p_words:
        yield f"parameters up to {layer.p_base + layer.oct * shape.groups} of {shape.p_words}"
    for name, base, alt, last in _spans(layer):
        end = (base & WORD_MASK) + alt + last + 1
        limit = shape.bank_words(base >> BANK_SHIFT)
        if base >> BANK_SHIFT != BANK_OUT and end > limit:
            yield f"{name} up to word {end} of {limit}"
    if layer.releases_x and reads_only_padding(layer):
        yield "it releases X, and reads nothing but padding of it"
    lost = overwritten(layer)
    if lost:
        yield f"its results go over words of its {lost} that it has still to read"


def _spans(layer: Descriptor) -> list[tuple[str, int, int, int]]:
    """(name, base, alt, the furthest word) of what a layer touches."""
    tiles = layer.ict if layer.is_dense else layer.oct
    furthest = (layer.ih - 1) * layer.src_row + (layer.iw - 1) * layer.src_pixel + tiles - 1
    pixels = layer.oh * layer.ow - 1
    spans = [
        ("source", layer.src, layer.src_alt, furthest),
        ("results", layer.dst, layer.dst_alt, pixels * layer.dst_pixel + layer.oct - 1),
    ]
    if layer.has_residual:
        spans.append(
            ("residual", layer.res, layer.res_alt, pixels * layer.res_pixel + layer.oct - 1)
        )
    return spans
