"""Whatever is decided and whatever hooks answer: each change is told before, and after it once."""

from __future__ import annotations

from itertools import count, pairwise
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.deployments import Hooks
from runtime.autoscale.change import After, Before, Outcome
from runtime.autoscale.decision import Cause, Decision
from runtime.deployments.changes import Changes
from runtime.hooks.answer import Answer, Result
from runtime.hooks.listener import HookListener
from runtime.hooks.running import Asking, DeploymentHooks

TIMEOUT_S = 5.0
DECLARED = Hooks(before_webhook="http://ops.example/", timeout_s=TIMEOUT_S)
Step = tuple[int, Result | None, bool, float]
"""What is decided, what a hook that was asked answers by then, whether the replicas are there, and
how many seconds pass."""
steps = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from([None, None, *Result]),
        st.booleans(),
        st.floats(0.1, 4.0),
    ),
    max_size=80,
)


class Fake:
    """In the place of DeploymentHooks: answers when it is told to."""

    def __init__(self) -> None:
        self.told: list[Before | After] = []
        self.open: Asking | None = None

    def ask(self, hooks: Hooks, change: Before, *, round: int = 1) -> Asking:
        assert round == 1 + sum(
            isinstance(each, Before) and each.change == change.change for each in self.told
        )
        self.told.append(change)
        self.open = Asking(1)
        return self.open

    def tell(self, hooks: Hooks, change: After) -> None:
        self.told.append(change)


@settings(max_examples=100, deadline=None)
@given(steps)
def test_each_change_is_told_before_and_once_after(found: list[Step]) -> None:
    fake, now_s, numbers = Fake(), 0.0, count()
    listener = HookListener(
        "web",
        hooks=cast(DeploymentHooks, fake),
        declared=lambda: DECLARED,
        clock=lambda: now_s,
    )
    changes = Changes("web", listener, wall=lambda: 0.0, token=lambda: f"c{next(numbers)}")
    scale, path = 1, [1]
    for decided, answer, is_there, passed_s in found:
        now_s += passed_s
        if fake.open is not None and answer is not None:
            fake.open.add(Answer(answer))
            fake.open = None
        before = scale
        scale = changes.asked(Decision(decided, "", Cause.MORE), scale, now_s)
        if scale != before:
            path.append(scale)
            current = changes.current
            assert current is not None
            assert (current.from_replicas, current.to_replicas) == (before, scale)
            assert scale >= min(decided, before)  # never fewer than are needed
        if before == 0 and decided > 0:
            assert scale == decided  # who is held waits for no hook
        changes.look(is_there=is_there, ready=scale, trouble=None, now_s=now_s)
    changes.stop("the end", ready=0, now_s=now_s)

    by_change: dict[str, list[Before | After]] = {}
    for each in fake.told:
        by_change.setdefault(each.change, []).append(each)
    begun = []
    for told in by_change.values():
        *befores, last = told
        assert befores
        assert all(isinstance(each, Before) for each in befores)
        assert isinstance(last, After)
        assert {(e.from_replicas, e.to_replicas) for e in told} == {
            (last.from_replicas, last.to_replicas)
        }
        if last.outcome is Outcome.DONE:
            begun.append((last.from_replicas, last.to_replicas))
    moves = list(pairwise(path))
    assert all(each in moves for each in begun)
