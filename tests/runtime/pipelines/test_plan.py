"""What to do next, for graphs small and random."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.pipelines.errors import BadPipelineError
from runtime.pipelines.plan import DONE, Graph, Standing, State, plan

W, R, F = Standing("waiting"), Standing("running", 1), Standing("finished", 1)


def test_what_needs_nothing_starts_as_many_as_there_are_slots() -> None:
    graph = Graph.of({"a": (), "b": (), "c": ("a",)})
    assert plan(graph, {"a": W, "b": W, "c": W}, 1).start == ("a",)
    assert plan(graph, {"a": W, "b": W, "c": W}, 9).start == ("a", "b")
    assert plan(graph, {"a": R, "b": W, "c": W}, 1).start == ()
    assert plan(graph, {"a": F, "b": R, "c": W}, 2).start == ("c",)


def test_what_needs_a_failed_step_is_skipped_and_so_is_what_needs_that() -> None:
    graph = Graph.of({"c": ("b",), "b": ("a",), "a": (), "d": ()})
    found = plan(graph, {"a": Standing("failed", 1), "b": W, "c": W, "d": W}, 1)
    assert found.start == ("d",)
    assert found.skip == {
        "b": "step 'a', which it needs, failed",
        "c": "step 'b', which it needs, was skipped",
    }


def test_a_failed_step_starts_again_while_it_has_attempts_left() -> None:
    graph = Graph.of({"a": (), "b": ("a",)}, {"a": 1})
    again = plan(graph, {"a": Standing("failed", 1), "b": W}, 1)
    assert (again.start, dict(again.skip), again.is_over) == (("a",), {}, False)
    assert plan(graph, {"a": Standing("failed", 2), "b": W}, 1).skip.keys() == {"b"}
    assert plan(graph, {"a": Standing("cancelled", 1), "b": W}, 1).skip.keys() == {"b"}


def test_a_cancelled_pipeline_starts_nothing_and_is_over_when_nothing_runs() -> None:
    graph = Graph.of({"a": (), "b": ()})
    assert plan(graph, {"a": R, "b": W}, 4, is_cancelled=True) == plan(graph, {"a": R, "b": F}, 4)
    assert plan(graph, {"a": F, "b": W}, 4, is_cancelled=True).is_over


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"a": ("a",)}, "a -> a"),
        ({"a": ("b",), "b": ("a",)}, "a -> b -> a"),
        ({"z": ("a",), "a": ("b",), "b": ("c",), "c": ("a",)}, "a -> b -> c -> a"),
        ({"x": (), "a": ("x", "b"), "b": ("a",)}, "a -> b -> a"),
    ],
)
def test_a_circle_is_named_in_order(needs: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(BadPipelineError, match="circle") as caught:
        Graph.of(needs)
    assert str(caught.value).endswith(f": {said}")


def test_a_long_circle_is_named_in_short() -> None:
    needs = {f"s{n}": (f"s{(n + 1) % 1000}",) for n in range(1000)}
    with pytest.raises(BadPipelineError) as caught:
        Graph.of(needs)
    assert str(caught.value).endswith("s4 -> s5 -> ... (1000 steps) -> s0")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Each step needs some of those before it, and stands anywhere in the file."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:place]), max_size=3, unique=True))
        if place
        else []
        for place, name in enumerate(names)
    }
    order = draw(st.permutations(names))
    retries = {name: draw(st.integers(0, 2)) for name in names}
    return Graph.of({name: needs[name] for name in order}, retries)


@settings(max_examples=50, deadline=None)
@given(graphs(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_each_step_is_done_failed_or_skipped_in_the_end_and_never_before_its_time(
    graph: Graph, slots: int, random: Random
) -> None:
    states = {name: Standing() for name in graph.needs}
    for _ in range(200):
        found = plan(graph, states, slots)
        for name in found.skip:
            states[name] = Standing("skipped", states[name].attempts)
        for name in found.start:
            assert all(states[each].state in DONE for each in graph.needs[name])
            states[name] = Standing("running", states[name].attempts + 1)
        running = [name for name, standing in states.items() if standing.state == "running"]
        assert len(running) <= slots
        if found.is_over:
            break
        assert running, "it neither runs nor ends"
        name = random.choice(running)
        ends: list[State] = ["finished", "finished", "reused", "failed", "cancelled"]
        states[name] = Standing(random.choice(ends), states[name].attempts)
    assert not running
    for name, standing in states.items():
        lost = [each for each in graph.needs[name] if states[each].state not in DONE]
        assert standing.state in (
            ("skipped",) if lost else ("finished", "reused", "failed", "cancelled")
        )
        if standing.state == "failed":
            assert standing.attempts == graph.retries[name] + 1
