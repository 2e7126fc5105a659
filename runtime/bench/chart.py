"""Numbers over time as lines of text: bars in eighths of a character. Pure.

for line in chart([120.0, 480.0, 500.0], width=60, height=5): print(line)
"""

from __future__ import annotations

from collections.abc import Sequence

EIGHTHS = " ▁▂▃▄▅▆▇█"
PLAIN = " ..::||##"
"""Where a terminal has no such characters."""


def chart(
    values: Sequence[float | None], *, width: int, height: int, is_plain: bool = False
) -> list[str]:
    """``height`` lines, the highest first, as wide as ``width`` at most; the largest value is as
    high as all of them. None leaves a gap; of more values than characters the largest are shown."""
    shown = fitted(values, width)
    most = max((value for value in shown if value is not None), default=0.0)
    marks = PLAIN if is_plain else EIGHTHS
    lines = []
    for level in reversed(range(height)):
        line = ""
        for value in shown:
            eighths = 0.0 if not value or most <= 0 else value / most * height * 8
            least = 1 if value and level == 0 else 0  # what is not 0 is seen
            line += marks[int(min(8, max(least, round(eighths - level * 8))))]
        lines.append(line.rstrip())
    return lines


def fitted(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most ``width`` of them: each is the largest of those that it stands for."""
    count = len(values)
    if count <= width:
        return list(values)
    found: list[float | None] = []
    for number in range(width):
        part = values[number * count // width : (number + 1) * count // width]
        known = [value for value in part if value is not None]
        found.append(max(known) if known else None)
    return found
