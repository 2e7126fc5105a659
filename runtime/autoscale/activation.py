"""Scale to zero: what happens to requests that come while there is no replica. Decides only.

    activation, actions = step(activation, Arrived("r1", until_s=now_s + 30), now_s)
    # (Start(), Hold("r1"))

A request that comes while all sleeps is held, never dropped: it wakes the deployment, and goes on
to the first replica that is ready, in the order in which they came. It is refused only when its
time is over, when too many are held, or when replicas fail to start again and again; each time with
the reason and when to try again. The shell keeps the requests themselves; here they are names.
Start and what decision.py says of ``Sample.held`` are the same wish: whichever comes first, one is
wanted from then on.

    phase     Arrived        Ready          StartFailed            Leaving    Gone
    ASLEEP    Start, Hold    AWAKE          -                      refused    -
              -> WAKING
    WAKING    Hold           Forward all    Start; after several   refused    -
                             -> AWAKE       Refuse all -> ASLEEP
    AWAKE     Forward        -              -                      LEAVING    ASLEEP
    LEAVING   Start, Hold    AWAKE          -                      refused    ASLEEP
              -> WAKING

"-": nothing changes. "refused": WrongEventError, and nothing changes. After starts have failed,
ASLEEP refuses what comes until ``not_before_s``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from runtime.errors import InferryError

LONGEST_BACKOFF_S = 60.0


class WrongEventError(InferryError):
    """The event cannot happen in this phase."""


class Phase(Enum):
    """LEAVING: the last replica finishes its work, and takes no more."""

    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Bounds:
    """``most_held`` requests at a time; after ``most_failures`` starts in a row that failed, those
    held are refused and no replica is started for ``backoff_s``, twice as long after each more."""

    most_held: int = 1000
    most_failures: int = 3
    backoff_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request; it must be answered by ``until_s`` (monotonic)."""

    request: str
    until_s: float


@dataclass(frozen=True, slots=True)
class Left:
    """The client of a held request is gone."""

    request: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A replica can answer."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The replica that was to wake it did not start; ``cause`` is one line."""

    cause: str


@dataclass(frozen=True, slots=True)
class Leaving:
    """It was decided that the last replica goes (decision.py)."""


@dataclass(frozen=True, slots=True)
class Gone:
    """No replica is left: the last has ended, or died."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; at least once a second while requests are held."""


Event = Arrived | Left | Ready | StartFailed | Leaving | Gone | Tick


@dataclass(frozen=True, slots=True)
class Start:
    """Start one replica."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the request."""

    request: str


@dataclass(frozen=True, slots=True)
class Forward:
    """Hand these to the replicas, in this order."""

    requests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer these that it cannot be done; trying again makes sense after ``retry_after_s``."""

    requests: tuple[str, ...]
    why: str
    retry_after_s: float


Action = Start | Hold | Forward | Refuse


@dataclass(frozen=True, slots=True)
class Activation:
    """``held``: in the order of their coming; empty unless it is WAKING. ``failures``: starts in a
    row. ``not_before_s``: after them, no start before then. ``start_s``: how long one is expected
    to take (learned.py), for those that are told to come again."""

    phase: Phase = Phase.ASLEEP
    held: tuple[Arrived, ...] = ()
    failures: int = 0
    cause: str = ""
    not_before_s: float | None = None
    start_s: float = 5.0
    bounds: Bounds = field(default_factory=Bounds)

    def __repr__(self) -> str:
        return f"<Activation {self.phase.value} held={len(self.held)} failures={self.failures}>"


Step = tuple[Activation, tuple[Action, ...]]


def step(activation: Activation, event: Event, now_s: float) -> Step:
    """What the event makes of it, and what to do, in this order. Raises WrongEventError."""
    decide = _TABLE.get((activation.phase, type(event)))
    if decide is None:
        raise WrongEventError(
            f"{type(event).__name__} cannot happen while it is {activation.phase.value}"
        )
    return decide(activation, event, now_s)


def _nothing(activation: Activation, event: Event, now_s: float) -> Step:
    return activation, ()


def _wake(activation: Activation, event: Event, now_s: float) -> Step:
    """All sleeps, or the last one takes no more."""
    assert isinstance(event, Arrived)
    wait_s = (activation.not_before_s or now_s) - now_s
    if 0.0 < wait_s <= LONGEST_BACKOFF_S:  # else the clock has jumped
        return activation, (_no_start(activation, (event.request,), wait_s),)
    woken, actions = _hold(activation, event, now_s)
    if not woken.held:
        return woken, actions
    return replace(woken, phase=Phase.WAKING, not_before_s=None), (Start(), *actions)


def _hold(activation: Activation, event: Event, now_s: float) -> Step:
    assert isinstance(event, Arrived)
    request, most = event.request, activation.bounds.most_held
    if not event.until_s > now_s:
        return activation, (Refuse((request,), "its time was over when it came", 0.0),)
    if len(activation.held) >= most:
        why = f"{most} requests already wait for a replica to start"
        return activation, (Refuse((request,), why, activation.start_s),)
    return replace(activation, held=(*activation.held, event)), (Hold(request),)


def _pass_on(activation: Activation, event: Event, now_s: float) -> Step:
    assert isinstance(event, Arrived)
    return activation, (Forward((event.request,)),)


def _forget(activation: Activation, event: Event, now_s: float) -> Step:
    """The start goes on though nobody may wait any more: the next one will be glad of it."""
    assert isinstance(event, Left)
    held = tuple(one for one in activation.held if one.request != event.request)
    return replace(activation, held=held), ()


def _awake(activation: Activation, event: Event, now_s: float) -> Step:
    """Those whose time is just over go on too: the replica refuses what it cannot do in time."""
    awake = Activation(Phase.AWAKE, start_s=activation.start_s, bounds=activation.bounds)
    if not activation.held:
        return awake, ()
    return awake, (Forward(_names(activation.held)),)


def _failed(activation: Activation, event: Event, now_s: float) -> Step:
    assert isinstance(event, StartFailed)
    failures, bounds = activation.failures + 1, activation.bounds
    again = replace(activation, failures=failures, cause=event.cause)
    if activation.held and failures < bounds.most_failures:
        return again, (Start(),)
    beyond = max(0, failures - bounds.most_failures)
    wait_s = min(bounds.backoff_s * 2.0 ** min(beyond, 30), LONGEST_BACKOFF_S)
    asleep = replace(again, phase=Phase.ASLEEP, held=(), not_before_s=now_s + wait_s)
    if not activation.held:
        return asleep, ()
    return asleep, (_no_start(again, _names(activation.held), wait_s),)


def _leaving(activation: Activation, event: Event, now_s: float) -> Step:
    return replace(activation, phase=Phase.LEAVING), ()


def _asleep(activation: Activation, event: Event, now_s: float) -> Step:
    return replace(activation, phase=Phase.ASLEEP), ()


def _expire(activation: Activation, event: Event, now_s: float) -> Step:
    late = tuple(one for one in activation.held if not one.until_s > now_s)
    if not late:
        return activation, ()
    held = tuple(one for one in activation.held if one.until_s > now_s)
    why = "no replica was ready in its time"
    return replace(activation, held=held), (Refuse(_names(late), why, activation.start_s),)


def _no_start(activation: Activation, requests: tuple[str, ...], wait_s: float) -> Refuse:
    return Refuse(requests, f"no replica starts: {activation.cause}", wait_s)


def _names(held: tuple[Arrived, ...]) -> tuple[str, ...]:
    return tuple(one.request for one in held)


_Decide = Callable[[Activation, Event, float], Step]
_ASLEEP, _WAKING, _AWAKE, _LEAVING = Phase
_TABLE: Mapping[tuple[Phase, type[Event]], _Decide] = {
    (_ASLEEP, Arrived): _wake,
    (_ASLEEP, Ready): _awake,
    (_ASLEEP, StartFailed): _nothing,
    (_ASLEEP, Gone): _nothing,
    (_ASLEEP, Left): _nothing,
    (_ASLEEP, Tick): _nothing,
    (_WAKING, Arrived): _hold,
    (_WAKING, Ready): _awake,
    (_WAKING, StartFailed): _failed,
    (_WAKING, Gone): _nothing,
    (_WAKING, Left): _forget,
    (_WAKING, Tick): _expire,
    (_AWAKE, Arrived): _pass_on,
    (_AWAKE, Ready): _nothing,
    (_AWAKE, StartFailed): _nothing,
    (_AWAKE, Leaving): _leaving,
    (_AWAKE, Gone): _asleep,
    (_AWAKE, Left): _nothing,
    (_AWAKE, Tick): _nothing,
    (_LEAVING, Arrived): _wake,
    (_LEAVING, Ready): _awake,
    (_LEAVING, StartFailed): _nothing,
    (_LEAVING, Gone): _asleep,
    (_LEAVING, Left): _nothing,
    (_LEAVING, Tick): _nothing,
}
