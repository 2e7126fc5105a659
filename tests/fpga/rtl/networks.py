"""Networks written by hand, with random weights: what a compiler would make of an MLP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fpga.isa import packet
from fpga.isa.descriptor import DENSE, Descriptor, encode
from fpga.isa.parameter import encode_parameters
from fpga.isa.shape import BANK_A, BANK_B, BANK_OUT, BANK_X, EngineShape, address

Array = Any


@dataclass(frozen=True)
class Network:
    """A program, what to load for it, and how many words an input has."""

    program: tuple[Descriptor, ...]
    weights: Array  # int8 [words, N, N]
    parameters: Array  # uint64 [entries, RQ]
    input_words: int

    def loading(self) -> Array:
        """The packet that loads it."""
        return packet.join(
            [
                packet.command(packet.WEIGHT, 0, self.weights),
                packet.command(packet.PARAM, 0, self.parameters),
                packet.command(packet.DESC, 0, np.concatenate([encode(d) for d in self.program])),
            ]
        )

    def inputs(self, rng: np.random.Generator, samples: int, n: int) -> Array:
        return rng.integers(-128, 128, (samples, self.input_words * n), np.int8)


def running(inputs: Array) -> Array:
    """The packet that runs samples."""
    return packet.join(
        [packet.run(len(inputs)), *(packet.command(packet.INPUT, 0, x) for x in inputs)]
    )


def mlp(rng: np.random.Generator, shape: EngineShape, widths: list[int]) -> Network:
    """Dense layers, one stage each: samples are interleaved when there are several."""
    n, program, w_base, p_base = shape.n, [], 0, 0
    tiles = [-(-width // n) for width in widths]
    layers = len(widths) - 1
    banks = [BANK_X, *[BANK_A if k % 2 == 0 else BANK_B for k in range(layers - 1)], BANK_OUT]
    for k in range(layers):
        program.append(
            Descriptor(
                kind=DENSE,
                releases_x=k == 0,
                is_last=k == layers - 1,
                stage=k,
                in_flight=layers if k else 63,
                src=address(banks[k], 8 * k if k else 0),
                src_alt=shape.x_half if k == 0 else 64,
                dst=address(banks[k + 1], 8 * (k + 1)),
                dst_alt=64,
                w_base=w_base,
                p_base=p_base,
                ict=tiles[k],
                oct=tiles[k + 1],
                z1=int(rng.integers(-20, 20)),
            )
        )
        w_base += tiles[k] * tiles[k + 1]
        p_base += tiles[k + 1] * shape.groups
    bias = rng.integers(-5000, 5000, p_base * shape.rq)
    scale = rng.uniform(1e-4, 1e-2, p_base * shape.rq).astype(np.float32)
    return Network(
        program=tuple(program),
        weights=rng.integers(-128, 128, (w_base, n, n), np.int8),
        parameters=encode_parameters(bias, scale).reshape(-1, shape.rq),
        input_words=tiles[0],
    )


def sequential(network: Network) -> Network:
    """The same, without interleaving: all layers of a sample, then the next."""
    program = tuple(replace(d, stage=0, in_flight=0) for d in network.program)
    return replace(network, program=program)
