"""What to do next with the steps of a pipeline. Pure: no clock, no workspace.

    graph = Graph.of({"train": (), "register": ("train",)})
    plan(graph, {"train": Standing("waiting")}, slots=2).start   # ("train",)

A step is started when all that it needs is done, skipped when something that it needs has failed
for good or was skipped, and started again when it failed and has attempts left.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runtime.pipelines.errors import BadPipelineError

State = Literal["waiting", "running", "finished", "reused", "failed", "cancelled", "skipped"]
DONE: frozenset[State] = frozenset(("finished", "reused"))
GONE: frozenset[State] = frozenset(("failed", "cancelled", "skipped"))
MAX_SHOWN = 8
"""Steps of a cycle that a message names."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a step is. ``attempts``: how often it was tried, this time."""

    state: State = "waiting"
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """Which steps each step needs, each after all that it needs; of equals the one that was written
    down first comes first. ``retries``: how often each may be tried again."""

    needs: Mapping[str, tuple[str, ...]]
    retries: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, needs: Mapping[str, Sequence[str]], retries: Mapping[str, int] | None = None
    ) -> Graph:
        """In an order that can be run. Every step that is needed is there. Raises BadPipelineError
        for a cycle, whose steps it names in order."""
        place = {name: number for number, name in enumerate(needs)}
        open_needs = {name: len(set(needed)) for name, needed in needs.items()}
        users: dict[str, list[str]] = {name: [] for name in needs}
        for name, needed in needs.items():
            for each in dict.fromkeys(needed):
                users[each].append(name)
        ready = [place[name] for name, count in open_needs.items() if count == 0]
        heapq.heapify(ready)
        names, ordered = list(needs), {}
        while ready:
            name = names[heapq.heappop(ready)]
            ordered[name] = tuple(dict.fromkeys(needs[name]))
            for user in users[name]:
                open_needs[user] -= 1
                if open_needs[user] == 0:
                    heapq.heappush(ready, place[user])
        if len(ordered) < len(needs):
            cycle = _cycle({n: needs[n] for n in needs if n not in ordered})
            raise BadPipelineError(f"the steps need each other in a circle: {cycle}")
        return cls(ordered, dict(retries or {}))

    def edges(self) -> Iterator[tuple[str, str]]:
        """What is needed, and by which step."""
        for name, needed in self.needs.items():
            for each in needed:
                yield each, name


@dataclass(frozen=True, slots=True)
class Plan:
    """``start`` these now. ``skip``: why each cannot run any more. Over when nothing runs, nothing
    starts and nothing waits for anything."""

    start: tuple[str, ...] = ()
    skip: Mapping[str, str] = field(default_factory=dict)
    is_over: bool = False


def plan(
    graph: Graph, states: Mapping[str, Standing], slots: int, *, is_cancelled: bool = False
) -> Plan:
    """``slots``: how many may run at once. Cancelled: nothing starts, and what waits stays so."""
    running = sum(standing.state == "running" for standing in states.values())
    skip: dict[str, str] = {}
    start: list[str] = []
    for name, needed in graph.needs.items():
        standing = states[name]
        if not _may_start(graph, name, standing):
            continue
        lost = next((each for each in needed if is_lost(graph, each, states, skip)), None)
        if lost is not None:
            skip[name] = f"step '{lost}', which it needs, {_how(states[lost], lost in skip)}"
        elif all(states[each].state in DONE for each in needed):
            start.append(name)
    start = [] if is_cancelled else start[: max(0, slots - running)]
    is_waiting = not is_cancelled and any(
        _may_start(graph, name, states[name]) and name not in skip for name in graph.needs
    )
    return Plan(tuple(start), skip, is_over=not running and not start and not is_waiting)


def is_lost(
    graph: Graph, name: str, states: Mapping[str, Standing], skip: Mapping[str, str]
) -> bool:
    """Whether the step will not be done any more."""
    return name in skip or (
        states[name].state in GONE and not _may_start(graph, name, states[name])
    )


def _may_start(graph: Graph, name: str, standing: Standing) -> bool:
    if standing.state == "failed":
        return standing.attempts <= graph.retries.get(name, 0)
    return standing.state == "waiting"


def _how(standing: Standing, is_skipped: bool) -> str:
    if is_skipped or standing.state == "skipped":
        return "was skipped"
    return "was cancelled" if standing.state == "cancelled" else "failed"


def _cycle(rest: Mapping[str, Sequence[str]]) -> str:
    """``a -> b -> a``: each needs the one after it. Each of ``rest`` needs another of it."""
    name, path = next(iter(rest)), dict[str, int]()
    while name not in path:
        path[name] = len(path)
        name = next(each for each in rest[name] if each in rest)
    steps = [*list(path)[path[name] :], name]
    if len(steps) > MAX_SHOWN:
        steps = [*steps[: MAX_SHOWN - 2], f"... ({len(steps) - 1} steps)", name]
    return " -> ".join(steps)
