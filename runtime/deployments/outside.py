"""Somebody else says how many replicas there shall be: a URL is asked each few seconds.

outside = Outside("web")
said = outside.said(service.external_scale, now_s)       # None: nobody, or not in time
decision = with_outside(own, said, kept=2, least=1, most=5)

GET URL answers {"replicas": 3}. Without a fresh answer Inferry's own policy decides; it always
decides when the last replica sleeps and when it wakes, so that a held request waits for nobody.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable

import msgspec

from runtime.autoscale import Cause, Decision
from runtime.hooks.answer import line
from runtime.hooks.exchange import Reply, exchanged
from runtime.hooks.lane import Lane

PERIOD_S = 5.0
ANSWER_S = 2.0
FRESH_S = 3 * PERIOD_S
"""So old an answer counts no more."""
MOST_REPLICAS = 1_000_000
Get = Callable[[str, None, dict[str, str], float], Reply]


class _Said(msgspec.Struct, frozen=True):
    replicas: int


class Outside:
    """Of one deployment; of one thread, but that answers come by another."""

    def __init__(
        self, name: str, *, get: Get = exchanged, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._get, self._clock = get, clock
        self._lane = Lane(f"external scaler of {name}", most=1)
        self._url: str | None = None
        self._asked_s: float | None = None
        self._answer: tuple[str, int, float] | None = None
        """URL, number, and when it came."""
        self._failed: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"Outside({self._url}, {self._answer})"

    def said(self, url: str | None) -> int | None:
        """At once. Asks where it is time to."""
        now_s = self._clock()
        if url != self._url:
            self._url, self._asked_s, self._answer, self._failed = url, None, None, None
        if url is None:
            return None
        if self._asked_s is None or not 0 <= now_s - self._asked_s < PERIOD_S:
            self._asked_s = now_s
            self._lane.put(lambda: self._ask(url))
        found = self._answer
        is_fresh = found is not None and found[0] == url and 0 <= now_s - found[2] <= FRESH_S
        return found[1] if found is not None and is_fresh else None

    @property
    def trouble(self) -> str | None:
        """Why it is not asked with success, in one line."""
        failed = self._failed
        if failed is None or failed[0] != self._url:
            return None
        return f"the external scaler: {failed[1]}; Inferry decides meanwhile"

    def close(self) -> None:
        """Nobody is asked any more."""
        self._lane.stop()
        self._lane.join(ANSWER_S)

    def _ask(self, url: str) -> None:
        try:
            reply = self._get(url, None, {"Accept": "application/json"}, ANSWER_S)
            if reply.status != 200:
                raise ValueError(f"it answers {reply.status}")
            number = msgspec.json.decode(reply.body, type=_Said).replicas
            if not 0 <= number <= MOST_REPLICAS:
                raise ValueError(f"it does not say 0 to {MOST_REPLICAS} replicas")
        except TimeoutError:
            self._failed = url, f"no answer within {ANSWER_S:g} s"
        except (OSError, http.client.HTTPException) as error:
            self._failed = url, line(getattr(error, "strerror", None) or type(error).__name__)
        except (msgspec.MsgspecError, RecursionError):
            self._failed = url, 'it does not answer {"replicas": N}'
        except ValueError as error:
            self._failed = url, line(str(error))
        else:
            self._failed, self._answer = None, (url, number, self._clock())


def with_outside(own: Decision, said: int | None, *, kept: int, least: int, most: int) -> Decision:
    """What counts. ``own``: Inferry's decision; ``kept``: what is wanted until now."""
    if said is None or (said == 0 and (kept == 0 or own.replicas == 0)):
        return own
    replicas = min(max(said, 1, least), most)
    return Decision(replicas, f"The external scaler says {said}", Cause.EXTERNAL)
