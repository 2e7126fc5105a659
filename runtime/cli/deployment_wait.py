"""Waits until a deployment is as it was declared, telling each change of its state.

with waiting(workspace, "web", output) as activity:
    found = until_there(workspace.deployments, declared, activity, timeout_s=300)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

from runtime.cli.deployment_elsewhere import Following, elsewhere
from runtime.cli.deployment_records import record, replicas_of, state_line
from runtime.cli.deployment_stand_in import StandIn, stand_in
from runtime.cli.deployment_values import Finite
from runtime.cli.output import print_record
from runtime.cli.text import printable_lines
from runtime.deployments.outcome import outcome
from runtime.errors import DeploymentFailedError

if TYPE_CHECKING:
    from registry import Workspace
    from registry.activities import RunningActivity
    from registry.deployments import Deployment, Deployments

F = TypeVar("F", bound=Callable[..., object])
LOOK_EVERY_S = 0.3
SETTLE_S = 2.0
"""How long a failure must last: what was seen in the moment of a change may be of before it."""
TIDY_S = 60.0
"""For what replicas have begun, and their end."""
LEFT_ALONE = "it goes on, but nothing keeps it running from now on: inferry up does"
ALONE = "no controller runs, so nothing changes; start one with: inferry up"


def timeout_option(default_s: float) -> Callable[[F], F]:
    """Adds ``--timeout-s``."""
    return click.option(
        "--timeout-s",
        type=Finite(0, 1e6, min_open=True),
        default=default_s,
        show_default=True,
        help="How long to wait; what was declared stays so.",
    )


def wait_option(command: F) -> F:
    """Adds ``--wait``."""
    return click.option("--wait", is_flag=True, help="Until it is so, or fails.")(command)


def until_there(
    deployments: Deployments,
    declared: Deployment,
    activity: RunningActivity | Following,
    *,
    timeout_s: float,
    look: Callable[[], object] = lambda: None,
) -> Deployment:
    """The deployment once it is as ``declared``. ``look`` is called now and then. Raises
    DeploymentFailedError, NotFoundError where it is deleted, CancelledError."""
    deadline = time.monotonic() + timeout_s
    failing_since: float | None = None
    said = ""
    while True:
        look()
        found = deployments.get(declared.name)
        if (line := state_line(found)) != said:
            said = line
            activity.log(line)
            activity.phase(f"{declared.name} is {line}")
        activity.check()
        now, result = time.monotonic(), outcome(found, declared.change)
        if result is not None and result.failure is None:
            return found
        failing_since = None if result is None else failing_since or now
        if result is not None and failing_since is not None and now - failing_since >= SETTLE_S:
            raise DeploymentFailedError(
                f"{declared.name}: {result.failure}", log=log_of(found, declared.goal)
            )
        if now >= deadline:
            raise DeploymentFailedError(
                f"{declared.name} is not as declared after {timeout_s:g} s: {line}",
                log=log_of(found, declared.goal),
            )
        time.sleep(LOOK_EVERY_S)


def _until_tidy(deployments: Deployments, name: str, look: Callable[[], object]) -> None:
    """Nobody would stop what an update left over once this command ends; it need not fail for
    it."""
    deadline = time.monotonic() + TIDY_S
    while time.monotonic() < deadline:
        look()
        found = deployments.get(name)
        if all(each.revision == found.goal for each in replicas_of(found)):
            return
        time.sleep(LOOK_EVERY_S)


def until_gone(
    deployments: Deployments,
    name: str,
    activity: RunningActivity | Following,
    *,
    timeout_s: float,
    look: Callable[[], object] = lambda: None,
) -> None:
    """Returns when nothing of it runs. Raises DeploymentFailedError, CancelledError."""
    from registry.errors import NotFoundError

    deadline = time.monotonic() + timeout_s
    said = ""
    while True:
        look()
        try:
            found = deployments.get(name)
        except NotFoundError:
            return
        if (line := state_line(found)) != said:
            said = line
            activity.phase(f"{name} is {line}")
        activity.check()
        if time.monotonic() >= deadline:
            raise DeploymentFailedError(f"{name} is not gone after {timeout_s:g} s: {line}")
        time.sleep(LOOK_EVERY_S)


def log_of(found: Deployment, revision: int) -> str:
    """The last lines of a replica that is not well, of the revision if there is one."""
    logs = [(each.revision == revision, each.log) for each in replicas_of(found) if each.log]
    return max(logs)[1] if logs else ""


def end(
    workspace: Workspace,
    declared: Deployment,
    said: str,
    *,
    is_waiting: bool,
    timeout_s: float,
    output: str,
) -> None:
    """What a command that declares does at its end: waits, and prints the URL or the record."""
    found, is_left_alone = declared, False
    if is_waiting:
        try:
            with watching(workspace, declared.name, output) as helper:
                found = until_there(
                    workspace.deployments,
                    declared,
                    helper.activity,
                    timeout_s=timeout_s,
                    look=helper.look,
                )
                is_left_alone = helper.was_needed
                if is_left_alone:
                    _until_tidy(workspace.deployments, declared.name, helper.look)
        except DeploymentFailedError as error:
            if error.log:
                click.echo(printable_lines(error.log), err=True)
            raise
    if output == "json":
        print_record(record(found), output)
    elif is_waiting:
        url = None if found.observed is None else found.observed.url
        click.echo(url or f"{found.name} is {state_line(found)}")  # devices have no URL
    else:
        click.echo(said)
    if is_left_alone:
        click.echo(f"inferry: {LEFT_ALONE}", err=True)
    elif not is_waiting:
        say_if_alone(workspace)


@contextlib.contextmanager
def watching(workspace: Workspace, name: str, output: str) -> Iterator[StandIn | Following]:
    """A controller of its own for the block, where none runs; behind a URL it is the service's to
    have one."""
    if elsewhere(workspace) is None:
        with stand_in(workspace, name, output) as helper:
            yield helper
        return
    say_if_alone(workspace)
    yield Following(output)


def is_alone(workspace: Workspace) -> bool:
    """No controller runs."""
    if (found := elsewhere(workspace)) is not None:
        return not found.has_controller()
    from runtime.deployments.controller import is_controlled

    return not is_controlled(workspace.root)


def say_if_alone(workspace: Workspace) -> None:
    """On stderr, where no controller runs; nothing where that cannot be found out."""
    with contextlib.suppress(OSError):
        if is_alone(workspace):
            click.echo(f"inferry: {ALONE}", err=True)
