"""What the balancer counted and what pages say, put together."""

from __future__ import annotations

from registry.deployments import Rollout
from runtime.balance import Replica
from runtime.balance.balancer import ReplicaState, ServiceState, VersionState
from runtime.balance.states import Server
from runtime.deployments.course import Course
from runtime.deployments.evidence import complaint
from runtime.deployments.witness import Witness

PLACES = {"web.1.a": (1, "127.0.0.1", 1001), "web.2.a": (2, "127.0.0.1", 1002)}
COURSE = Course(2, ((1, 100.0),), "shifting")


def balanced(old: int, new: int, failed: int = 0) -> ServiceState:
    """Requests of both revisions so far."""
    states = []
    for at, (port, requests, bad) in enumerate(((1001, old, 0), (1002, new, failed))):
        server = Server(
            "web.0", f"s{at}", "127.0.0.1", port, "ready", True, 1, 0, 0, 0, requests, 0, 0, 0, 0,
            bad, "",
        )  # fmt: skip
        states.append(ReplicaState(Replica("127.0.0.1", port), server, 0))
    return ServiceState("web", (VersionState("v", tuple(states), 0),), 0, old + new)


def page(**within: int) -> bytes:
    """``page(ms25=100, ms50=120)``: answers within each bound."""
    lines = [
        f'inferry_request_seconds_bucket{{le="{int(name[2:]) / 1000}",route="/score"}} {count}\n'
        for name, count in within.items()
    ]
    whole = max(within.values())
    lines.append(f'inferry_request_seconds_bucket{{le="+Inf",route="/score"}} {whole}\n')
    return "".join(lines).encode()


def seen(old: dict[str, int], new: dict[str, int]) -> str | None:
    """What is said of the new revision after these answers."""
    witness = Witness()
    nothing = dict.fromkeys(old | new, 0)
    for first, second in ((nothing, nothing), (nothing | old, nothing | new)):
        count = max(first.values()), max(second.values())
        witness.count(balanced(*count), PLACES)
        pages = {"web.1.a": page(**first), "web.2.a": page(**second)}
        witness.read_pages(pages, PLACES)
    answers = witness.of_new(COURSE, Rollout())
    assert witness.of_old(COURSE).requests == max(old.values())
    return complaint(Rollout(), witness.of_old(COURSE), answers)


QUICK = {"ms25": 1000, "ms50": 1000, "ms100": 1000, "ms1000": 1000}


def test_one_that_is_as_quick_is_not_complained_about() -> None:
    assert seen(QUICK, {"ms25": 20, "ms50": 20, "ms100": 20, "ms1000": 20}) is None


def test_one_whose_answers_are_all_slow_is_found_by_few_of_them() -> None:
    said = seen(QUICK, {"ms25": 0, "ms50": 0, "ms100": 3, "ms1000": 3})
    assert said is not None
    assert "3 of 3 requests took over 2 times the p99" in said


def test_a_busy_machine_does_not_hide_that_most_answers_are_slow() -> None:
    noisy = {"ms25": 900, "ms50": 940, "ms100": 960, "ms1000": 1000}
    said = seen(noisy, {"ms25": 0, "ms50": 0, "ms100": 12, "ms1000": 12})
    assert said is not None
    assert "12 of 12 requests took over 2 times the median" in said


def test_failures_are_those_that_the_balancer_saw() -> None:
    witness = Witness()
    witness.count(balanced(0, 0), PLACES)
    witness.count(balanced(100, 10, failed=5), PLACES)
    answers = witness.of_new(COURSE, Rollout())
    assert (answers.requests, answers.failed) == (10, 5)
    witness.begin_anew()
    assert witness.of_new(COURSE, Rollout()).requests == 0
