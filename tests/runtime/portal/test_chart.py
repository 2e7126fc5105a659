from __future__ import annotations

import html
import json
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.portal.chart import Dot, Line, axis, chart
from runtime.portal.graph import Node, drawn
from runtime.portal.pages.experiments import earlier
from runtime.portal.pages.pipelines import depths
from runtime.portal.words import NOTHING, lasted, number, size, when

ANY = st.floats(allow_nan=True, allow_infinity=True)


def dots(*values: float) -> list[Dot]:
    return [Dot(x, y, y, y) for x, y in enumerate(values)]


def test_a_curve_goes_from_its_first_to_its_last_point() -> None:
    text = chart([Line("loss", dots(1, 0.5, 0.25))], title="loss")
    (path,) = re.findall(r'class="curve c0" d="(M[^"]+)"', text)
    assert path.count("L") == 2
    assert path.startswith("M52.0 ")
    assert "from 1 to 0.25, lowest 0.25, highest 1" in text


def test_a_peak_is_a_band() -> None:
    text = chart([Line("loss", [Dot(0, 1, 0, 9), Dot(100, 1, 1, 1)])], title="loss")
    assert 'class="band c0"' in text
    assert "highest 9" in text


def test_a_gap_is_no_line() -> None:
    text = chart([Line("a", dots(1, math.nan, 2, 3))], title="a")
    assert text.count('class="curve') == 1
    assert text.count("<circle") == 1


def test_nothing_to_draw_is_said() -> None:
    assert "<svg" not in chart([Line("a", dots(math.nan, math.inf))], title="a")
    assert "<svg" not in chart([], title="a")


@pytest.mark.parametrize("name", ["<b>", '"', "a&b", "'><script>"])
def test_names_are_escaped(name: str) -> None:
    text = chart([Line(name, dots(1, 2))], title=name, x_name=name)
    root = ElementTree.fromstring(str(text))
    assert root.attrib["aria-label"].startswith(f"Chart of {name}.")
    assert json.loads(root.attrib["data-chart"])["lines"][0]["name"] == name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), ANY, ANY), max_size=20))
def test_any_numbers_make_a_drawing_within_its_frame(
    points: list[tuple[int, float, float]],
) -> None:
    line = Line("a", [Dot(x, y, min(y, z), max(y, z)) for x, y, z in points])
    text = str(chart([line], title="a"))
    assert "nan" not in re.sub(r'data-chart="[^"]*"|aria-label="[^"]*"', "", text).lower()
    for path in re.findall(r'class="(?:curve|band)[^"]*" d="([^"]+)"', text):
        for value in re.findall(r"-?[0-9.e+]+", path):
            assert -1 <= float(value) <= 401
    found = re.search(r'data-chart="([^"]*)"', text)
    assert found is None or json.loads(html.unescape(found[1]))


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.booleans())
def test_ticks_are_within_their_axis(a: float, b: float, is_whole: bool) -> None:
    found = axis(min(a, b), max(a, b), 5, is_whole=is_whole)
    assert found.least < found.most
    room = (found.most - found.least) * 1e-6
    assert all(found.least - room <= tick <= found.most + room for tick in found.ticks)
    assert 1 <= len(found.ticks) <= 15


def test_things_are_drawn_in_columns_with_what_is_between_them() -> None:
    nodes = [Node("a", "<a>", "run", 0, "/ui/a"), Node("b", "b" * 50, "model", 1, "/ui/b", True)]
    text = str(drawn(nodes, [("a", "b"), ("a", "gone")], label="what"))
    root = ElementTree.fromstring(text)
    assert text.count('class="edge"') == 1
    assert [each.attrib["href"] for each in root.iter("a")] == ["/ui/a", "/ui/b"]
    assert "&lt;a&gt;" in text
    ElementTree.fromstring(str(drawn([], [], label="nothing")))


def test_a_step_is_behind_all_that_it_needs() -> None:
    needs: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ()}
    assert depths(needs) == {"a": 0, "b": 1, "c": 2, "d": 0}


def test_words_of_numbers() -> None:
    assert [number(each) for each in (0, 1.0, 1234567, 0.123456789, 1e-9, math.nan, math.inf)] == [
        "0",
        "1",
        "1\u202f234\u202f567",
        "0.12346",
        "1e-09",
        "NaN",
        "∞",
    ]
    assert [size(each) for each in (0, 999, 1000, 1_234_567, 10**18)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1.23 MB",
        "1e+03 PB",
    ]
    assert [lasted(each) for each in (0.0005, 0.0123, 5, 65, 3700, 200_000, None, math.nan)] == [
        "0.5 ms",
        "12 ms",
        "5.0 s",
        "1 min 5 s",
        "1 h 1 min",
        "2 d 7 h",
        NOTHING,
        NOTHING,
    ]
    assert 'datetime="1970-01-01T00:00:00.000+00:00"' in when(0)
    assert when(1e30) == when(None) == NOTHING


def test_the_page_before() -> None:
    assert earlier("900-150", 50) == "900-100"
    assert earlier("900-50", 50) == "900-0"
    assert earlier("x", 50) == ""
