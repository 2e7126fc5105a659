"""Curves as SVG: pure text, made on the server.

    chart([Line("loss", points_of(tracking.metrics.chart(id, "loss")))], title="loss")

A point that stands for several has their extremes, which are drawn as a band behind the curve: a
peak stays to be seen however long the series is. What is not finite is a gap. Colours come from
classes in portal.css; a hover reads the numbers from ``data-chart``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from registry.tracking import ChartPoint
from runtime.portal.words import number

WIDTH, HEIGHT = 400.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 36.0
COLOURS = 8
LARGEST, LEAST, LEAST_PART = 1e300, 1e-300, 1e-9
"""What is larger is drawn at the edge; what differs by less, as the same."""
POINTS = 300
"""Enough for the width; more would only make the page longer."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One point of a curve, and the extremes of all that it stands for."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; ``colour`` is one of COLOURS."""

    name: str
    dots: Sequence[Dot]
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``least`` to ``most``, which differ; ``ticks`` are within."""

    least: float
    most: float
    ticks: tuple[float, ...]

    def part(self, value: float) -> float:
        """Where it lies, from 0 to 1."""
        return (value - self.least) / (self.most - self.least)


def points_of(found: Iterable[ChartPoint]) -> list[Dot]:
    """As metrics.chart has them; x is the step."""
    return [Dot(each.step, each.value, each.min, each.max) for each in found]


def chart(lines: Sequence[Line], *, title: str, x_name: str = "step") -> Markup:
    """The drawing; a line of words where there is nothing to draw."""
    xs = [dot.x for line in lines for dot in line.dots]
    ys = [
        value
        for line in lines
        for dot in line.dots
        for value in (dot.y, dot.low, dot.high)
        if math.isfinite(value)
    ]
    if not ys:
        return Markup('<p class="quiet">No finite value to draw.</p>')
    across, up = axis(min(xs), max(xs), 5, is_whole=True), axis(min(ys), max(ys), 5)
    drawn = "".join(_line(line, across, up) for line in lines)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img"'
        f' aria-label="{escape(summary(lines, title))}"'
        f' data-chart="{escape(_data(lines, across, up))}">'
        f"{_grid(across, up, x_name)}{drawn}</svg>"
    )


def summary(lines: Sequence[Line], title: str) -> str:
    """What a reader that sees no picture hears."""
    said = []
    for line in lines[:COLOURS]:
        finite = [dot for dot in line.dots if math.isfinite(dot.y)]
        if finite:
            low = min((d.low for d in finite if math.isfinite(d.low)), default=math.nan)
            high = max((d.high for d in finite if math.isfinite(d.high)), default=math.nan)
            said.append(
                f"{line.name}: from {number(finite[0].y)} to {number(finite[-1].y)},"
                f" lowest {number(low)}, highest {number(high)}"
            )
    return f"Chart of {title}. {'; '.join(said)}."


def axis(least: float, most: float, wanted: int, *, is_whole: bool = False) -> Axis:
    """An axis around these values, with about ``wanted`` ticks at round numbers."""
    least, most = _within(least, -LARGEST, LARGEST), _within(most, -LARGEST, LARGEST)
    size = max(abs(least), abs(most))
    if most - least <= size * LEAST_PART:
        room = max(1.0, size * 1e-6) if is_whole else size * 0.1 or 1.0
        least, most = least - room, most + room
    step = _round_step((most - least) / wanted)
    if is_whole:
        step = max(1.0, step)
    else:
        least, most = math.floor(least / step) * step, math.ceil(most / step) * step
    room = (most - least) * 1e-9
    first = math.ceil((least - room) / step)
    found = ((first + count) * step for count in range(3 * wanted))
    ticks = tuple(tick for tick in found if least - room <= tick <= most + room)
    return Axis(least, most, ticks or (least, most))


def _within(value: float, least: float, most: float) -> float:
    return max(least, min(value, most))


def _round_step(rough: float) -> float:
    """The next larger round number; ``rough`` is above 0."""
    scale = 10.0 ** math.floor(math.log10(max(rough, LEAST)))
    return next((part * scale for part in (1, 2, 2.5, 5) if part * scale >= rough), 10 * scale)


def _place(dot_x: float, dot_y: float, across: Axis, up: Axis) -> tuple[float, float]:
    x = LEFT + _within(across.part(dot_x), 0, 1) * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - _within(up.part(dot_y), 0, 1) * (HEIGHT - TOP - BOTTOM)
    return x, y


def _line(line: Line, across: Axis, up: Axis) -> str:
    name = f"c{line.colour % COLOURS}"
    parts = []
    for run in _runs(line.dots):
        if any(dot.low < dot.high for dot in run):
            above = [_place(d.x, d.high, across, up) for d in run]
            below = [_place(d.x, d.low, across, up) for d in reversed(run)]
            parts.append(f'<path class="band {name}" d="{_path([*above, *below])}Z"/>')
        places = [_place(dot.x, dot.y, across, up) for dot in run]
        if len(places) == 1:
            x, y = places[0]
            parts.append(f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        else:
            parts.append(f'<path class="curve {name}" d="{_path(places)}"/>')
    return "".join(parts)


def _runs(dots: Sequence[Dot]) -> Iterator[list[Dot]]:
    """Stretches without a gap."""
    run: list[Dot] = []
    for dot in dots:
        if math.isfinite(dot.y) and math.isfinite(dot.low) and math.isfinite(dot.high):
            run.append(dot)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _grid(across: Axis, up: Axis, x_name: str) -> str:
    parts = ['<g class="grid">']
    for tick in up.ticks:
        _, y = _place(across.least, tick, across, up)
        parts.append(f'<path d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}"/>')
        parts.append(
            f'<text x="{LEFT - 6:g}" y="{y + 4:.1f}" class="left">{number(tick, 4)}</text>'
        )
    for tick in across.ticks:
        x, _ = _place(tick, up.least, across, up)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 20:g}">{number(tick, 4)}</text>')
    parts.append(
        f'<text x="{WIDTH - RIGHT:g}" y="{HEIGHT - 4:g}" class="left">{escape(x_name)}</text></g>'
    )
    return "".join(parts)


def _data(lines: Sequence[Line], across: Axis, up: Axis) -> str:
    """For the hover: the frame, and the numbers."""
    return json.dumps(
        {
            "frame": [LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM],
            "x": [across.least, across.most],
            "y": [up.least, up.most],
            "lines": [
                {
                    "name": line.name,
                    "colour": line.colour % COLOURS,
                    "x": [dot.x for dot in line.dots],
                    "y": [_short(dot.y) for dot in line.dots],
                }
                for line in lines
            ],
        },
        separators=(",", ":"),
    )


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
