"""Deploy steps: an image becomes, or replaces, what a deployment runs."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry import Workspace
from registry.deployments import Deployment
from registry.errors import NotFoundError, TargetExistsError
from registry.tracking import RunRecord
from runtime.deployments.outcome import outcome
from runtime.errors import DeploymentFailedError
from runtime.pipelines.own_run import OwnRun, own_run
from runtime.pipelines.port import Done, Job
from runtime.pipelines.records import DIGEST, MADE, URL
from runtime.pipelines.steps import DeployStep, made_name
from runtime.tracking.environment import user

LOOK_EVERY_S = 0.2
TRY_EVERY_S = 1.0
SETTLE_S = 2.0
"""How long a failure must last: what was seen in the moment of a change may be of before it."""
UNKEPT_S = 30.0
"""For an ``inferry up`` that begins, or begins again."""
LEFT_ALONE = "it goes on, but nothing keeps it running from now on: inferry up does"


class DeployRunner:
    """In one workspace. Where no inferry up runs, its work is done here until the deployment
    runs; but not where this process ``stands_in`` for none: a service, which replicas and hooks of
    deployments would then be children of."""

    def __init__(
        self,
        workspace: Workspace,
        actor: str | None = None,
        *,
        stands_in: bool = True,
        unkept_s: float = UNKEPT_S,
    ) -> None:
        """``actor``: who is written down (None: who runs this process); ``unkept_s``: how long an
        inferry up is waited for."""
        self._workspace = workspace
        self._actor = actor
        self._stands_in = stands_in
        self._unkept_s = unkept_s

    def facts(self, job: Job) -> Any:
        """Never reused: what is so already is quickly done."""
        return None

    def is_there(self, done: Done) -> bool:
        """Not asked."""
        return False

    def run(self, job: Job) -> RunRecord:
        """Declares it, and waits."""
        step = job.step
        assert isinstance(step, DeployStep)
        image = job.before[step.image].made if step.image in job.before else step.image

        def work(own: OwnRun) -> Mapping[str, str]:
            declared = self._declare(step, image, f"pipeline {job.parent.reference}")
            with contextlib.ExitStack() as held:
                if self._stands_in:
                    look = _stand_in(self._workspace, own, held)
                else:
                    look = _kept_by_another(self._workspace, own, step, self._unkept_s)
                found = self._until_there(declared, own, look, step.timeout_s)
            url = "" if found.observed is None else found.observed.url or ""
            own.say(f"{found.name} runs {found.revision(found.goal).image}{url and ' at '}{url}")
            return {MADE: found.name, DIGEST: found.revision(found.goal).digest, URL: url}

        return own_run(self._workspace.tracking, job, work)

    def _declare(self, step: DeployStep, image: str, why: str) -> Deployment:
        deployments, name = self._workspace.deployments, made_name(step)
        actor = os.environ.get("INFERRY_ACTOR") or f"{user()}@{socket.gethostname()} ({why})"
        if self._actor is not None:
            actor = f"{self._actor} ({why})"
        try:
            before = deployments.get(name)
        except NotFoundError:
            return deployments.create(
                name,
                image,
                actor=actor,
                target=step.target,
                service=step.service,
                settings=step.settings,
            )
        if before.target != step.target:
            raise TargetExistsError(
                f"the deployment '{name}' is on {before.target}, not {step.target}; delete it"
                " first, or name another"
            )
        return deployments.update(
            name, actor=actor, image=image, settings=step.settings, service=step.service
        )

    def _until_there(
        self, declared: Deployment, own: OwnRun, look: Callable[[], None], timeout_s: float
    ) -> Deployment:
        deadline = time.monotonic() + timeout_s
        failing_since: float | None = None
        said = ""
        while True:
            look()
            own.check()
            found = self._workspace.deployments.get(declared.name)
            if (line := _line(found)) != said:
                said = line
                own.say(f"{declared.name} is {line}")
            now, result = time.monotonic(), outcome(found, declared.change)
            if result is not None and result.failure is None:
                return found
            failing_since = None if result is None else failing_since or now
            if result is not None and failing_since is not None and now - failing_since >= SETTLE_S:
                _say_last_words(found, own)
                raise DeploymentFailedError(f"{declared.name}: {result.failure}")
            if now >= deadline:
                _say_last_words(found, own)
                raise DeploymentFailedError(
                    f"{declared.name} is not as declared after {timeout_s:g} s: {line}"
                )
            time.sleep(LOOK_EVERY_S)


def _line(found: Deployment) -> str:
    if found.observed is None:
        return "declared"
    cause = found.observed.cause
    return f"{found.observed.state}: {cause}" if cause else found.observed.state


def _say_last_words(found: Deployment, own: OwnRun) -> None:
    """Of a replica that is not well, of the goal if there is one."""
    replicas = () if found.observed is None else found.observed.replicas
    logs = [(each.revision == found.goal, each.log) for each in replicas if each.log]
    for line in max(logs)[1].splitlines() if logs else ():
        own.say(line)


def _kept_by_another(
    workspace: Workspace, own: OwnRun, step: DeployStep, unkept_s: float
) -> Callable[[], None]:
    """To be called often. What it gives raises DeploymentFailedError where no inferry up runs for
    ``unkept_s``: the deployment stays declared."""
    from runtime.deployments.controller import is_controlled

    since: float | None = None
    next_s = 0.0

    def look() -> None:
        nonlocal since, next_s
        now = time.monotonic()
        if now < next_s:
            return
        next_s = now + min(TRY_EVERY_S, unkept_s)
        if is_controlled(workspace.root):
            since = None
        elif since is None:
            since = now
            own.say(f"no inferry up runs beside the service; one is waited for, {unkept_s:g} s")
        elif now - since >= unkept_s:
            raise DeploymentFailedError(
                f"{made_name(step)} is declared, but no inferry up runs beside the service to carry"
                " that out; start one there, then resume the pipeline"
            )

    return look


def _stand_in(workspace: Workspace, own: OwnRun, held: contextlib.ExitStack) -> Callable[[], None]:
    """A controller for as long as ``held``, where no other runs; to be called often."""
    check: Callable[[], None] | None = None
    next_s = 0.0

    def look() -> None:
        nonlocal check, next_s
        if check is not None:
            check()
        elif time.monotonic() >= next_s:
            next_s = time.monotonic() + TRY_EVERY_S
            check = _begin(workspace, own, held)

    return look


def _begin(
    workspace: Workspace, own: OwnRun, held: contextlib.ExitStack
) -> Callable[[], None] | None:
    """Raises BalanceError where there is no HAProxy."""
    from runtime.balance.errors import NoHaproxyError
    from runtime.deployments.controller import only_controller
    from runtime.deployments.here import controller_of, haproxy_program

    if haproxy_program() is None:
        raise NoHaproxyError("haproxy is not installed, and a deployment needs it; as root:"
                             " apt-get install haproxy")  # fmt: skip
    with contextlib.ExitStack() as mine:
        if not mine.enter_context(only_controller(workspace.root, wait_s=0)):
            return None
        mine.callback(own.say, LEFT_ALONE)
        controller = mine.enter_context(controller_of(workspace, told=lambda line: None))
        check = mine.enter_context(_running(controller.run, controller.stop))
        held.push(mine.pop_all())
    return check


@contextlib.contextmanager
def _running(run: Callable[[], None], stop: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """In a thread, for the block; what it gives raises what ended it."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            run()
        except BaseException as error:  # whoever asks says it
            failures.append(error)

    def check() -> None:
        if failures:
            raise failures[0]

    thread = threading.Thread(target=body, name="controller")
    thread.start()
    try:
        yield check
    finally:
        stop()
        thread.join()
