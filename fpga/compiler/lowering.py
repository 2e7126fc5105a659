"""Steps to a program: descriptors, weight memory, parameters, and the packet that loads them.

Small networks without pictures run several samples at once, each layer on another one (stages);
others one sample after the other. Weights that do not fit come through the packet, split by
channels into blocks of at most half of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fpga.compiler.description import Description
from fpga.compiler.graph import Average, Conv, Graph, Tensor
from fpga.compiler.placement import Place, place
from fpga.compiler.steps import Copy, Step, steps, with_copied_output
from fpga.compiler.streaming import Plan, Size, plan
from fpga.compiler.weights import identity, parameters, tiles, words
from fpga.errors import CapacityError, ProgramError
from fpga.isa import packet
from fpga.isa.descriptor import Descriptor, check_program, encode
from fpga.isa.shape import BANK_X, EngineShape

Array = Any
MOST_STAGES = 15
MOST_FLIGHT = 63


@dataclass(frozen=True, slots=True)
class Layer:
    """A descriptor and where it comes from. ``part``: (first, count) of the output's channel tiles,
    where a step was split."""

    descriptor: Descriptor
    step: Step
    part: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Program:
    """``load``: beats of DESC, PARAM and WEIGHT; ``stream``: of WSTREAM, for one sample."""

    layers: tuple[Layer, ...]
    places: dict[str, Place]
    load: Array
    stream: Array
    blocks: int
    resident_words: int
    is_interleaved: bool

    @property
    def descriptors(self) -> list[Descriptor]:
        return [layer.descriptor for layer in self.layers]


@dataclass(slots=True)
class _Weights:
    """W, and what is streamed."""

    words: list[Array] = field(default_factory=list)
    count: int = 0
    stream: list[Array] = field(default_factory=list)

    def put(self, found: Array) -> int:
        base, self.count = self.count, self.count + len(found)
        self.words.append(found)
        return base


class _OutputInPartsError(Exception):
    """A picture that goes out would go out in several parts, one after the other."""


def lower(graph: Graph, shape: EngineShape) -> Program:
    """The program of a graph. Raises CapacityError with what does not fit, and what would help."""
    todo = steps(graph)
    if len(todo) > shape.d_words:
        raise CapacityError(
            f"{len(todo)} layers; the engine holds {shape.d_words}: an engine with larger d_words"
            " is needed"
        )
    _check_parts(graph, todo, shape)
    if todo[-1].channel is not None:
        todo = with_copied_output(todo)
    try:
        return _lower(graph, todo, shape)
    except _OutputInPartsError:
        return _lower(graph, with_copied_output(todo), shape)


def _check_parts(graph: Graph, todo: list[Step], shape: EngineShape) -> None:
    for step in todo:
        if step.channel is not None and step.channel % shape.n:
            raise CapacityError(
                f"{step.name}: this part of a Concat begins at channel {step.channel}; an engine of"
                f" {shape.n} lanes needs a multiple of {shape.n} there: pad the channels before it"
            )


def _lower(graph: Graph, todo: list[Step], shape: EngineShape) -> Program:
    sizes = _sizes(graph, todo, shape.n)
    interleaved = _is_interleavable(graph, todo, sizes, shape)
    places = None
    if interleaved:
        try:
            places = place(todo, sizes, shape, graph.input, copies=2)
        except CapacityError:
            interleaved = False
    if places is None:
        places = place(todo, sizes, shape, graph.input, copies=1)
    return _Lowering(graph, todo, shape, places, interleaved).program()


def _sizes(graph: Graph, todo: list[Step], n: int) -> dict[str, int]:
    """Words of each tensor."""
    found = {}
    for name, tensor in _tensors(graph, todo).items():
        channels, height, width = tensor.shape
        found[name] = tiles(channels, n) * height * width
    return found


def _tensors(graph: Graph, todo: list[Step]) -> dict[str, Tensor]:
    """The graph's, and what steps brought: copies, and what will be copied to the output."""
    found = dict(graph.tensors)
    for step in todo:
        if step.target not in found:
            like = step.source if isinstance(step.operation, Copy) else graph.output
            found[step.target] = replace(graph.tensors[like], name=step.target)
        if step.between not in found:  # a part of a Concat
            whole, channels = found[step.target], found[step.source].shape[0]
            found[step.between] = replace(
                whole, name=step.between, shape=(channels, *whole.shape[1:])
            )
    return found


def _is_interleavable(
    graph: Graph, todo: list[Step], sizes: dict[str, int], shape: EngineShape
) -> bool:
    """A chain without residuals and without pictures, whose weights fit."""
    weights = sum(len(found) for step in todo if (found := words(step, shape.n)) is not None)
    return (
        1 < len(todo) <= MOST_STAGES
        and weights <= shape.w_words
        and all(step.residual is None and isinstance(step.operation, Conv) for step in todo)
        and all(graph.tensors[step.target].shape[1:] == (1, 1) for step in todo)
        and all(before.target == step.source for before, step in pairwise(todo))
    )


class _Lowering:
    def __init__(
        self,
        graph: Graph,
        todo: list[Step],
        shape: EngineShape,
        places: dict[str, Place],
        interleaved: bool,
    ) -> None:
        self._graph, self._todo, self._shape = graph, todo, shape
        self._places, self._interleaved = places, interleaved
        self._tensors = _tensors(graph, todo)
        self._description = Description(self._tensors, places, shape)
        self._weights = _Weights()
        self._parameters: list[Array] = []
        self._identity: int | None = None
        self._made_by: dict[str, int] = {}
        self._layers: list[Layer] = []

    def program(self) -> Program:
        own = [words(step, self._shape.n) for step in self._todo]
        streaming = self._streamed(own)
        last = self._todo[-1]
        if len(streaming.parts.get(len(self._todo) - 1, ())) > 1 and self._is_picture(last):
            raise _OutputInPartsError
        resident = self._resident_bases(own, set(streaming.parts))
        for number, step in enumerate(self._todo):
            found = own[number]
            if number in streaming.parts and found is not None:
                self._put_streamed(number, step, found, streaming)
            else:
                base = resident.get(number)
                self._put(number, step, (0, self._oct(step)), base, is_streamed=False)
            self._made_by[step.target] = len(self._layers) - 1
        self._finish()
        descriptors = [layer.descriptor for layer in self._layers]
        if len(descriptors) > self._shape.d_words:
            raise CapacityError(
                f"{len(descriptors)} layers; the engine holds {self._shape.d_words}: an engine with"
                " larger d_words is needed"
            )
        table = np.concatenate(self._parameters)
        entries = len(table) // self._shape.rq
        if entries > self._shape.p_words:
            raise CapacityError(
                f"{entries} words of scales and biases; the engine holds {self._shape.p_words}:"
                " an engine with larger p_words is needed"
            )
        self._check(descriptors)
        load = [
            packet.command(packet.DESC, 0, np.concatenate([encode(each) for each in descriptors])),
            packet.command(packet.PARAM, 0, table),
        ]
        if self._weights.words:
            load.append(packet.command(packet.WEIGHT, 0, np.concatenate(self._weights.words)))
        stream = self._weights.stream
        return Program(
            tuple(self._layers), self._places, packet.join(load),
            packet.join(stream) if stream else np.zeros(0, "<u8"), len(stream),
            self._weights.count, self._interleaved,
        )  # fmt: skip

    def _check(self, descriptors: list[Descriptor]) -> None:
        try:
            check_program(descriptors, self._shape)
        except ProgramError as error:
            names = [layer.step.name for layer in self._layers]
            raise CapacityError(
                f"the engine cannot run this network: {error} (layers: {', '.join(names)[:300]})"
            ) from None

    # Weights.

    def _streamed(self, own: list[Array | None]) -> Plan:
        sizes = {
            number: Size(len(found), self._oct(self._todo[number]), self._taps(self._todo[number]))
            for number, found in enumerate(own)
            if found is not None
        }
        return plan(sizes, self._needs_identity(), self._shape.w_words)

    def _needs_identity(self) -> int:
        return int(any(isinstance(step.operation, Average | Copy) for step in self._todo))

    def _resident_bases(self, own: list[Array | None], streamed: set[int]) -> dict[int, int]:
        if self._needs_identity():
            self._identity = self._weights.put(identity(self._shape.n))
        return {
            number: self._weights.put(found)
            for number, found in enumerate(own)
            if found is not None and number not in streamed
        }

    def _put_streamed(self, number: int, step: Step, found: Array, streaming: Plan) -> None:
        """Split by output tiles, so that each block fits its region."""
        stream = self._weights.stream
        taps = self._taps(step)
        for first, count in streaming.parts[number]:
            base = streaming.bases[len(stream)]
            block = found[first * taps : (first + count) * taps]
            stream.append(packet.command(packet.WSTREAM, base, block))
            self._put(number, step, (first, count), base, is_streamed=True)

    # Layers.

    def _is_picture(self, step: Step) -> bool:
        return self._tensors[step.target].shape[1:] != (1, 1)

    def _oct(self, step: Step) -> int:
        return tiles(self._tensors[step.between].shape[0], self._shape.n)

    def _taps(self, step: Step) -> int:
        """Words of weights for one output tile."""
        operation = step.operation
        assert isinstance(operation, Conv)
        kh, kw = operation.weight.shape[2:]
        if operation.is_depthwise:
            return int(kh * kw)
        return int(kh * kw) * tiles(operation.weight.shape[1], self._shape.n)

    def _put(
        self,
        number: int,
        step: Step,
        part: tuple[int, int],
        w_base: int | None,
        *,
        is_streamed: bool,
    ) -> None:
        source, between = self._tensors[step.source], self._tensors[step.between]
        first, count = part
        entries = parameters(step, source, between, self._shape.n)
        n = self._shape.n
        p_base = sum(len(each) for each in self._parameters) // self._shape.rq
        self._parameters.append(entries[first * n : (first + count) * n])
        layer = replace(
            self._description.descriptor(step, first),
            p_base=p_base, oct=count, is_streamed=is_streamed,
            w_base=w_base if w_base is not None else (self._identity or 0),
            has_fixed_weight=isinstance(step.operation, Average | Copy),
            stage=number if self._interleaved else 0, in_flight=self._in_flight(number, step),
        )  # fmt: skip
        self._layers.append(Layer(layer, step, part))

    def _in_flight(self, number: int, step: Step) -> int:
        """How many layers before may still be under way. Interleaved, what a layer reads was made
        one round and one layer before."""
        if self._interleaved:
            return len(self._todo) if number else MOST_FLIGHT
        made = [self._made_by[name] for name in step.reads if name in self._made_by]
        if not made:
            return MOST_FLIGHT
        return min(MOST_FLIGHT, len(self._layers) - max(made) - 1)

    def _finish(self) -> None:
        """Who reads X last, and who is last."""
        reads = [
            place for place, layer in enumerate(self._layers) if layer.descriptor.src_bank == BANK_X
        ]
        last, end = reads[-1], len(self._layers) - 1
        for at in sorted({last, end}):
            layer = self._layers[at]
            descriptor = replace(layer.descriptor, releases_x=at == last, is_last=at == end)
            self._layers[at] = replace(layer, descriptor=descriptor)
