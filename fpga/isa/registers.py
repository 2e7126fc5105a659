"""The engine's registers and the address map (docs/reference/fpga-engine.md, sections 6 and 7)."""

from __future__ import annotations

ID_VALUE = 0x49465259
VERSION_VALUE = 1

ID = 0x00
VERSION = 0x04
SHAPE = 0x08
W_WORDS = 0x0C
P_D_WORDS = 0x10
X_WORDS = 0x14
A_B_WORDS = 0x18
BUILD = (0x20, 0x24, 0x28, 0x2C)
CONTROL = 0x30
STATUS = 0x34
ERROR = 0x38
MODEL = 0x3C
CYCLES_LOW = 0x40
CYCLES_HIGH = 0x44
ARRAY_CYCLES = 0x48
SAMPLES = 0x4C
STALL_INPUT = 0x50
STALL_OUTPUT = 0x54
BEATS_IN = 0x58
BEATS_OUT = 0x5C

CONTROL_RESET = 1
STATUS_IDLE = 1
STATUS_ERROR = 2
STATUS_READING = 4

ERROR_TEXTS = {
    1: "a command with a bad header",
    2: "a packet that ends within a command",
    3: "an input that no run asked for",
    4: "a payload that is no whole number of words, or leaves its memory",
    5: "a run of no samples, or before any program",
}

DMA_BASE = 0x40400000
LEDS_BASE = 0x41200000
ENGINE_BASE = 0x43C00000
SPAN_BYTES = 0x10000
