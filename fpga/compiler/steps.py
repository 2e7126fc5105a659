"""What the engine does in one layer each: an operation, and the Add that follows it.

Pure: a graph to steps, in order. An Add becomes the residual of the operation just before it, where
that one's result goes nowhere else; otherwise of an operation that copies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fpga.compiler.graph import Add, Average, Concat, Conv, Graph, Max, Window


@dataclass(frozen=True, slots=True)
class Copy:
    """The tensor as it is (an identity matrix and the scale 1)."""

    name: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Residual:
    """``add.a`` is what the operation gives, ``tensor`` what is added to it."""

    tensor: str
    ma: int
    mb: int
    sh: int
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Step:
    """``between``: the tensor that the operation alone would give; ``target``: what comes out;
    ``channel``: where in it the first channel goes, of a Concat's parts."""

    operation: Conv | Average | Max | Copy
    between: str
    target: str
    residual: Residual | None = None
    channel: int | None = None

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def source(self) -> str:
        return self.operation.source

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.source,) if self.residual is None else (self.source, self.residual.tensor)


def steps(graph: Graph) -> list[Step]:
    """In order. Every tensor that a step reads is the input or an earlier step's target."""
    uses: dict[str, int] = {graph.output: 1}
    for node in graph.nodes:
        for name in graph.sources(node):
            uses[name] = uses.get(name, 0) + 1
    found: list[Step] = []
    for node in graph.nodes:
        if isinstance(node, Concat):
            found += _parts(graph, node)
            continue
        if not isinstance(node, Add):
            found.append(Step(node, node.target, node.target))
            continue
        main = _fusible(node, found, uses)
        if main is None:
            # The first one is copied through the array, the second added to it.
            copy = Copy(node.name, node.a, node.target)
            found.append(Step(copy, node.a, node.target, _residual(node, node.a)))
        else:
            at = max(place for place, step in enumerate(found) if step.target == main)
            step = found.pop(at)
            found.append(replace(step, target=node.target, residual=_residual(node, main)))
    return _with_copied_residuals(graph, found)


def _parts(graph: Graph, node: Concat) -> list[Step]:
    """Each part goes through the array with its scale, to its place."""
    found, channel = [], 0
    for number, (name, scale) in enumerate(zip(node.parts, node.scales, strict=True)):
        move = Average(
            f"{node.name} {number}", name, node.target, scale, Window(), node.lo, node.hi
        )
        found.append(Step(move, f"{node.target} part {number}", node.target, channel=channel))
        channel += graph.tensors[name].shape[0]
    return found


def _fusible(node: Add, found: list[Step], uses: dict[str, int]) -> str | None:
    """The operand whose step comes last and has no other use."""
    for step in reversed(found):
        if step.target in (node.a, node.b) and step.residual is None and node.a != node.b:
            if step.channel is not None:
                return None
            return step.target if uses[step.target] == 1 else None
    return None


def _residual(node: Add, main: str) -> Residual:
    """Written so that ``ma`` belongs to what the operation gives."""
    if main == node.a:
        return Residual(node.b, node.ma, node.mb, node.sh, node.lo, node.hi)
    return Residual(node.a, node.mb, node.ma, node.sh, node.lo, node.hi)


def _with_copied_residuals(graph: Graph, found: list[Step]) -> list[Step]:
    """A residual lies in A or B, and not where the source lies. So the input, and a tensor that is
    added to itself, are copied first."""
    whole: list[Step] = []
    copies: dict[str, str] = {}
    for step in found:
        residual = step.residual
        if residual is not None and residual.tensor in (graph.input, step.source):
            name = residual.tensor
            if name not in copies:
                copies[name] = f"{name} (copied)"
                copy = Copy(f"copy of {name}", name, copies[name])
                whole.append(Step(copy, copies[name], copies[name]))
            step = replace(step, residual=replace(residual, tensor=copies[name]))
        whole.append(step)
    return whole


def with_copied_output(found: list[Step]) -> list[Step]:
    """The same, with a last step that copies what goes out, whole."""
    end = found[-1].target
    inner = f"{end} (before)"
    before = [
        replace(step, target=inner, between=inner if step.between == end else step.between)
        if step.target == end
        else step
        for step in found
    ]
    return [*before, Step(Copy(f"copy of {end}", inner, end), end, end)]
