"""``kill -9`` under load: of a replica, of HAProxy, and of the controller amid its work.

python -m benchmarks.deployments --only kill-replica,kill-haproxy,kill-controller
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from functools import partial

from benchmarks.deployments.engine import own_engine, why_none
from benchmarks.deployments.harm import Kill, judge
from benchmarks.deployments.images import make_digits
from benchmarks.deployments.plan import Plan
from benchmarks.deployments.report import Part
from benchmarks.deployments.stand import AT_ONCE, Stand, is_live, is_state, ready, stand
from benchmarks.deployments.traffic import Rate, Sending, Traffic
from benchmarks.outcome import Finding
from registry.deployments import Deployment, Health, RevisionSettings, ServiceSettings

RATE = 100.0
REPLICAS = 2
STEADY_S = 2.0
SERVICE = ServiceSettings(least_replicas=REPLICAS, most_replicas=REPLICAS, rollout=AT_ONCE)
SETTINGS = RevisionSettings(health=Health(start_s=60.0))
PAUSES_S = (0.1, 2.5)
"""Between a declaration and the kill: somewhere in the course of it."""
ENGINE_AWAY_S = 1.0
AWAY_S = 0.5
"""Until whoever watches over it starts the controller again."""


def kill_replica(plan: Plan) -> Part:
    """One of two, then the other; then both are replaced, as one that ends again and again is
    started ever later."""
    part, kills = Part("kill-replica"), []
    with stand() as found:
        with _traffic(found) as traffic:
            for number in range(plan.times(20, 2)):
                victim = sorted(ready(found.get("web")), key=lambda each: each.id)[
                    number % REPLICAS
                ]
                old, at_s = found.pids(victim.id), time.monotonic()
                found.kill_replica(victim.id)
                _wait(partial(_is_whole, found, old))
                kills.append(Kill("a replica", at_s, time.monotonic() - at_s))
                _say(plan, number, kills)
                if number % REPLICAS == REPLICAS - 1:
                    found.until("web", _rollout(found, number))
                time.sleep(STEADY_S / 2)
        judge(part, traffic.requests, kills, "soon over")
    return part


def kill_haproxy(plan: Plan) -> Part:
    """Master and worker at once."""
    part, kills = Part("kill-haproxy"), []
    with stand() as found:
        with _traffic(found) as traffic:
            for number in range(plan.times(20, 2)):
                old, at_s = found.haproxies(), time.monotonic()
                for pid in old:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                _wait(partial(_is_haproxy_new, found, old))
                kills.append(Kill("HAProxy", at_s, time.monotonic() - at_s))
                _say(plan, number, kills)
                time.sleep(STEADY_S)
        judge(part, traffic.requests, kills, "soon over")
    return part


def kill_controller(plan: Plan) -> Part:
    """In quiet, in the middle of a rollout, and in the middle of a change of scale, in turn."""
    part, kills, source = Part("kill-controller"), [], random.Random(7)
    acts: list[tuple[str, Callable[[Stand, int], Callable[[Deployment], bool]]]] = [
        ("the controller, in quiet", _nothing),
        ("the controller, in a rollout", _rollout),
        ("the controller, in a change of scale", _scale),
    ]
    with stand() as found:
        with _traffic(found) as traffic:
            for number in range(plan.times(20, 3)):
                what, act = acts[number % len(acts)]
                wanted = act(found, number)
                time.sleep(source.uniform(*PAUSES_S))
                at_s = time.monotonic()
                found.controller.kill()
                time.sleep(AWAY_S)
                found.controller.start()
                found.until("web", wanted)
                kills.append(Kill(what, at_s, time.monotonic() - at_s))
                _say(plan, number, kills)
                time.sleep(STEADY_S / 2)
        judge(part, traffic.requests, kills, "nothing failed")
        _count_replicas(part, found)
    return part


def kill_engine(plan: Plan) -> Part:
    """dockerd, which is started again after a second, as systemd does it; with its option
    live-restore, which has containers go on without it, and without."""
    part, why = Part("kill-engine"), why_none()
    base = plan.debian_base()
    if why is not None or base is None:
        part.notes.append(f"Not measured: {why or 'no base: scripts/test-base'}.")
        return part
    for live_restore in (True, False):
        name = f"dockerd, {'with' if live_restore else 'without'} live-restore"
        kills = []
        with (
            own_engine(live_restore=live_restore) as engine,
            stand({"DOCKER_HOST": engine.host}, base=str(base)) as found,
        ):
            found.workspace.targets.attach("box", "docker", {})
            with _traffic(found, "box") as traffic:
                for number in range(plan.times(5, 1)):
                    at_s = time.monotonic()
                    engine.kill()
                    time.sleep(ENGINE_AWAY_S)
                    engine.start()
                    engine.wait()
                    _wait(partial(_answer_all, found), within_s=120.0)
                    kills.append(Kill(name, at_s, time.monotonic() - at_s))
                    _say(plan, number, kills)
                    time.sleep(2 * STEADY_S)
            judge(part, traffic.requests, kills, "none")
    part.notes.append(
        "Ports of containers are dockerd's: while it is away nothing answers, and HAProxy holds"
        " requests until a replica does."
    )
    return part


def _nothing(found: Stand, number: int) -> Callable[[Deployment], bool]:
    del number
    goal = found.get("web").goal
    # A controller that is back says so by a new look.
    seen_at = _seen_at(found.get("web"))
    return lambda it: is_live(it, goal) and _seen_at(it) > seen_at


def _rollout(found: Stand, number: int) -> Callable[[Deployment], bool]:
    made = found.update("web", image=f"digits:{1 + number % 2}", environment={"ROUND": str(number)})
    return lambda it: is_live(it, made.goal)


def _scale(found: Stand, number: int) -> Callable[[Deployment], bool]:
    now = found.get("web").service.least_replicas
    wanted = REPLICAS + 1 if now == REPLICAS else REPLICAS
    found.scale("web", wanted)
    del number
    return lambda it: is_state(it, "running") and len(ready(it)) == wanted


def _traffic(found: Stand, target: str = "local") -> Traffic:
    asked = make_digits(found)
    port = found.deploy("web", "digits:1", target=target, service=SERVICE, settings=SETTINGS)
    time.sleep(STEADY_S)
    return Traffic(Sending(port, asked, [Rate(RATE)]), found.scratch)


def _is_whole(found: Stand, killed: list[int]) -> bool:
    """As many answer as there shall be, none of them a process that was killed."""
    replicas = ready(found.get("web"))
    pids = [found.pids(each.id) for each in replicas]
    return (
        len(replicas) == REPLICAS
        and all(own and not set(own) & set(killed) for own in pids)
        and all(_answers(each.address) for each in replicas)
    )


def _is_haproxy_new(found: Stand, killed: list[int]) -> bool:
    """Master and worker run, and no old one."""
    alive = found.haproxies()
    return len(alive) >= len(killed) and not set(alive) & set(killed)


def _answer_all(found: Stand) -> bool:
    replicas = ready(found.get("web"))
    return len(replicas) == REPLICAS and all(_answers(each.address) for each in replicas)


def _answers(address: str) -> bool:
    """On its own port, whatever HAProxy knows of it."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def _count_replicas(part: Part, found: Stand) -> None:
    """None may be left over of what a controller had begun when it was killed."""
    wanted = found.get("web").service.least_replicas
    runs = found.workspace.root / "deployments" / "processes" / "local" / "run"

    def running() -> list[str]:
        names = [path.name for path in runs.iterdir() if not path.name.startswith(".")]
        return [name for name in names if found.pids(name.removesuffix(".live"))]

    with contextlib.suppress(TimeoutError):
        _wait(lambda: len(running()) == wanted, within_s=60.0)
    left = len(running())
    part.findings.append(
        Finding(
            "replicas that run after all kills of the controller",
            f"{wanted}",
            f"{left}",
            left == wanted,
        )
    )


def _wait(is_true: Callable[[], object], within_s: float = 60.0) -> None:
    end_s = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(0.005)


def _say(plan: Plan, number: int, kills: list[Kill]) -> None:
    if number % 5 == 4 or number < 2:
        plan.say(f"{number + 1} kills; whole again after {kills[-1].whole_s:.1f} s")


def _seen_at(found: Deployment) -> str:
    return "" if found.observed is None else found.observed.seen_at
