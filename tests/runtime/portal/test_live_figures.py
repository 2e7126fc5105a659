from __future__ import annotations

import math
from collections.abc import Mapping

from registry.deployments import Deployment, Observed, Replica, ServiceSettings
from runtime.portal.live_figures import EVERY_S, KEPT_S, Figures, LiveFigures, figures_of, places_of

BOUNDS = (0.001, 0.01, 0.1, math.inf)


def counts(*values: float) -> dict[float, float]:
    return dict(zip(BOUNDS, values, strict=True))


def page(*values: int) -> bytes:
    lines = []
    for bound, value in zip(BOUNDS, values, strict=True):
        le = "+Inf" if math.isinf(bound) else bound
        lines.append(f'inferry_request_seconds_bucket{{route="/score",le="{le}"}} {value}\n')
    return "".join(lines).encode()


def deployment(*replicas: Replica) -> Deployment:
    seen = Observed("running", None, "http://x", 1, replicas, "now")
    return Deployment("web", "local", ServiceSettings(), 1, True, 1, "now", (), (), (), seen)


def test_a_rate_is_what_came_since_the_look_before() -> None:
    found = figures_of({"a": counts(0, 10, 10, 10)}, {"a": counts(50, 100, 110, 110)}, 2.0)
    assert found == Figures(0, 1, 110, 50.0, 0.001, 0.1, 2.0)


def test_the_first_look_knows_only_the_sum() -> None:
    assert figures_of({}, {"a": counts(1, 1, 1, 1)}, None) == Figures(asked=1, answered=1)


def test_a_replica_that_began_anew_or_is_new_says_nothing_of_the_time_between() -> None:
    before = {"a": counts(5, 5, 5, 5), "b": counts(0, 0, 0, 0)}
    now = {"a": counts(1, 1, 1, 1), "b": counts(2, 2, 2, 2), "c": counts(9, 9, 9, 9)}
    found = figures_of(before, now, 1.0)
    assert (found.answered, found.rate_per_s) == (12, 2.0)
    assert figures_of({"a": counts(5, 5, 5, 5)}, {"a": counts(1, 1, 1, 1)}, 1.0).rate_per_s is None


def test_no_request_has_no_latency() -> None:
    found = figures_of({"a": counts(5, 5, 5, 5)}, {"a": counts(5, 5, 5, 5)}, 1.0)
    assert (found.rate_per_s, found.p50_s, found.p99_s) == (0.0, None, None)


def test_an_answer_beyond_all_bounds_has_no_number() -> None:
    found = figures_of({"a": counts(0, 0, 0, 0)}, {"a": counts(0, 0, 0, 5)}, 1.0)
    assert found.p50_s is None


def test_only_replicas_that_are_ready_are_asked() -> None:
    found = places_of(
        deployment(
            Replica("a", 1, "ready", "127.0.0.1:9001"),
            Replica("b", 1, "starting", "127.0.0.1:9002"),
            Replica("c", 1, "ready", "[::1]:9003"),
            Replica("d", 1, "ready", ""),
            Replica("e", 1, "ready", "unknown"),
        )
    )
    assert found == {"a": ("127.0.0.1", 9001), "c": ("::1", 9003)}


def test_pages_are_asked_for_now_and_then_however_many_look() -> None:
    now, asked = [100.0], []

    def fetch(places: Mapping[str, tuple[str, int]]) -> dict[str, bytes | None]:
        asked.append(places)
        return {id: page(0, 0, 0, 10 * len(asked)) for id in places}

    live = LiveFigures(fetch, lambda: now[0])
    web = deployment(Replica("a", 1, "ready", "127.0.0.1:9001"))
    assert [live.of("w", web).answered for _ in range(3)] == [10, 10, 10]
    now[0] += EVERY_S
    assert live.of("w", web).rate_per_s == 10 / EVERY_S
    assert live.of("other", web).answered == 30, "another workspace's is another"
    now[0] += KEPT_S + 1
    assert live.of("w", web).rate_per_s is None, "so long ago says nothing of now"


def test_a_page_that_makes_no_sense_is_no_page() -> None:
    live = LiveFigures(lambda places: {id: b"<html>\n" for id in places})
    web = deployment(Replica("a", 1, "ready", "127.0.0.1:9001"))
    assert live.of("w", web) == Figures(replicas=1)
