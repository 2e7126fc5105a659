"""The hooks of one deployment: run beside it, counted, and remembered.

    hooks = DeploymentHooks("web", secret=lambda: None, told=print)
    asking = hooks.ask(declared.service.hooks, before)
    asking.answer                  # None until it is there; nobody waits here
    hooks.tell(declared.service.hooks, after)
    hooks.figures()

Each of the four (webhook or command, before or after) has a lane of its own: one that hangs holds
up nothing else. A hook that fails, in whichever way, is said, counted, and nothing more.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import msgspec

from registry.clock import Clock, utc_now
from registry.deployments import Hooks
from registry.errors import RegistryError
from runtime.autoscale.change import After, Before, Change, document, environment
from runtime.hooks import command, webhook
from runtime.hooks.answer import Answer, Result, worst
from runtime.hooks.lane import Lane

Moment = Literal["before", "after"]
Kind = Literal["webhook", "command"]
END_S = 4.0
"""For what is being run when the controller ends."""
MOST_TRIED_S = 900.0
"""How long an ``after`` webhook is tried, in all."""


class HookNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a hook last. ``at``: UTC, ISO 8601."""

    moment: Moment
    kind: Kind
    result: str
    said: str = ""
    took_s: float = 0.0
    at: str = ""


@dataclass(frozen=True, slots=True)
class HookFigures:
    """Since the controller began: how many of each moment, kind and result, and the seconds that
    they took in all."""

    results: Mapping[tuple[Moment, Kind, str], int] = field(default_factory=dict)
    seconds: Mapping[tuple[Moment, Kind], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Hook:
    """One of the four, about one change: ``what``, for people."""

    moment: Moment
    kind: Kind
    what: str = "a change of scale"
    timeout_s: float = 0.0


class Asking:
    """Answers of those who were asked about one change."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._answers: list[Answer] = []

    def __repr__(self) -> str:
        return f"Asking({len(self._answers)} of {self._expected})"

    def add(self, answer: Answer) -> None:
        """Of one of them."""
        self._answers.append(answer)

    @property
    def answer(self) -> Answer | None:
        """None while somebody who may say "not now" has said nothing."""
        found = list(self._answers)
        is_put_off = any(each.result is Result.NOT_NOW for each in found)
        return worst(found) if is_put_off or (found and len(found) >= self._expected) else None


class DeploymentHooks:
    """``ask``, ``tell`` and ``close`` are of one thread. ``secret``: signs webhooks, None where
    there is none; raises RegistryError; ``environ``: what commands find beside the change."""

    def __init__(
        self,
        deployment: str,
        *,
        secret: Callable[[], bytes | None] = lambda: None,
        told: Callable[[str], None] = lambda line: None,
        environ: Mapping[str, str] | None = None,
        post: webhook.Post | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._deployment, self._secret, self._told = deployment, secret, told
        self._environ, self._post, self._clock = environ, post, clock
        self._lanes: dict[tuple[Moment, Kind], Lane] = {}
        self._guard = threading.Lock()
        self._results: dict[tuple[Moment, Kind, str], int] = {}
        self._seconds: dict[tuple[Moment, Kind], float] = {}
        self._last: dict[tuple[Moment, Kind], HookNote] = {}

    def __repr__(self) -> str:
        return f"DeploymentHooks({self._deployment}, {self._results})"

    def ask(self, hooks: Hooks, change: Before, *, round: int = 1) -> Asking:
        """At once; the answer comes within ``hooks.timeout_s``, or a little later. ``round``: how
        often it is asked about this change, so that no receiver takes it for the last time."""
        jobs = self._jobs("before", hooks, change, f".{round}" if round > 1 else "")
        asking = Asking(len(jobs))
        for kind, job in jobs.items():
            hook = _Hook("before", kind, _replicas(change), hooks.timeout_s)
            self._put(hook, job, asking.add)
        return asking

    def tell(self, hooks: Hooks, change: After) -> None:
        """At once; nobody waits for it."""
        for kind, job in self._jobs("after", hooks, change).items():
            hook = _Hook("after", kind, _replicas(change), hooks.timeout_s)
            self._put(hook, job, lambda answer: None)

    def figures(self) -> HookFigures:
        """As they are now."""
        with self._guard:
            return HookFigures(dict(self._results), dict(self._seconds))

    def notes(self) -> tuple[HookNote, ...]:
        """What came of each hook last."""
        with self._guard:
            return tuple(self._last[key] for key in sorted(self._last))

    def remember(self, notes: tuple[HookNote, ...]) -> None:
        """What an earlier controller had."""
        with self._guard:
            self._last = {(each.moment, each.kind): each for each in notes} | self._last

    def close(self) -> None:
        """What waits is dropped, and what runs has END_S."""
        deadline = time.monotonic() + END_S
        lanes = dict(self._lanes)
        for (moment, kind), lane in lanes.items():
            for _ in lane.stop():
                self._note(_Hook(moment, kind), Answer(Result.DROPPED, "the controller ends"))
        for lane in lanes.values():
            lane.join(max(0.0, deadline - time.monotonic()))

    # Parts.

    def _jobs(
        self, moment: Moment, hooks: Hooks, change: Change, tail: str = ""
    ) -> dict[Kind, Callable[[Lane], Answer]]:
        is_before = moment == "before"
        url = hooks.before_webhook if is_before else hooks.after_webhook
        arguments = hooks.before_command if is_before else hooks.after_command
        body = json.dumps(document(change)).encode()
        found: dict[Kind, Callable[[Lane], Answer]] = {}
        if url is not None:
            id = f"{change.change}.{moment}{tail}"
            message = webhook.Message(url=url, id=id, body=body, may_veto=is_before)
            found["webhook"] = partial(self._deliver, message, hooks.timeout_s)
        if arguments:
            environ = {**(os.environ if self._environ is None else self._environ)}
            found["command"] = partial(
                _run,
                command.Command(
                    arguments=arguments,
                    stdin=body,
                    environ=environ | environment(change),
                    may_veto=is_before,
                ),
                hooks.timeout_s,
            )
        return found

    def _put(
        self, hook: _Hook, ask: Callable[[Lane], Answer], answered: Callable[[Answer], None]
    ) -> None:
        moment, kind = hook.moment, hook.kind
        lane = self._lanes.setdefault(
            (moment, kind), Lane(f"{kind} {moment} a change of {self._deployment}")
        )

        asked_s = time.monotonic()

        def job() -> None:
            answer = Answer(Result.FAILED, "it failed in a way that nobody foresaw")
            try:
                answer = _late(hook, asked_s) or ask(lane)
            finally:
                answered(answer)
                self._note(hook, answer)

        if not lane.put(job):
            dropped = Answer(Result.DROPPED, "too many wait to be run")
            answered(dropped)
            self._note(hook, dropped)

    def _deliver(self, message: webhook.Message, timeout_s: float, lane: Lane) -> Answer:
        try:
            secret = self._secret()
        except RegistryError as error:  # unsigned it would be another's as well
            return Answer(Result.FAILED, f"its secret cannot be had: {error}")
        return webhook.deliver(
            replace(message, secret=secret),
            each_s=timeout_s,
            total_s=timeout_s if message.may_veto else MOST_TRIED_S,
            sleep=lambda wait: not lane.stopping.wait(wait),
            post=self._post,
        )

    def _note(self, hook: _Hook, answer: Answer) -> None:
        moment, kind, result = hook.moment, hook.kind, answer.result.value
        with self._guard:
            key = moment, kind, result
            self._results[key] = self._results.get(key, 0) + 1
            self._seconds[moment, kind] = self._seconds.get((moment, kind), 0.0) + answer.took_s
            took_s = round(answer.took_s, 3)
            self._last[moment, kind] = HookNote(
                moment, kind, result, answer.said, took_s, self._clock()
            )
        tries = f" after {answer.tries} tries" if answer.tries > 1 else ""
        said = f": {answer.said}" if answer.said else ""
        self._told(
            f"{self._deployment} {kind} {moment} {hook.what}:"
            f" {result.replace('_', ' ')}{tries} in {took_s:.1f} s{said}"
        )


def _replicas(change: Change) -> str:
    return f"{change.from_replicas} -> {change.to_replicas} replicas"


def _late(hook: _Hook, asked_s: float) -> Answer | None:
    """One that waited so long for those before it that its change has begun without it: ``before``
    would come after."""
    if hook.moment == "before" and time.monotonic() - asked_s >= hook.timeout_s:
        return Answer(Result.DROPPED, "its time was over before it could run")
    return None


def _run(what: command.Command, timeout_s: float, lane: Lane) -> Answer:
    return command.run(what, timeout_s, lane.stopping.is_set)
