"""``inferry bench``: a deployment or server under load."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlunsplit

import click

from runtime.cli.deployment_address import Address, address_of
from runtime.cli.deployment_values import Finite
from runtime.cli.output import output_option, print_json
from runtime.cli.text import one_line
from runtime.cli.workspace import open_workspace, workspace_option
from runtime.errors import BadValueError, ScoringCallError
from runtime.scoring_call import call, score_url

if TYPE_CHECKING:
    from runtime.bench import Plan, Step, Summary
    from runtime.bench.replicas import Place, ReplicaLoad

FIRST_ANSWER_S = 60.0
"""A deployment without a replica starts one for the first request."""
MOST_STEPS, MOST_USERS, MOST_RATE, LONGEST_S = 50, 5000, 1e6, 24 * 3600.0
DEFAULT_USERS, USERS_OF_A_RATE = 8, 64
SAMPLES = 10
"""At least so many of a step, where it is short."""
SHORTEST_SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True)
class Found:
    """All that is shown. ``data``: what the bodies are."""

    url: str
    data: str
    summary: Summary
    replicas: tuple[ReplicaLoad, ...]
    is_whole: bool


@click.command()
@click.argument("where", metavar="URL|DEPLOYMENT")
@click.option(
    "--data",
    "-d",
    metavar="FILE|-",
    help="A body; with .jsonl one in each line, of a folder one in each file. [default: what the"
    " deployment's image knows or takes]",
)
@click.option(
    "--content-type", help="What the bodies are. [default: application/json, else octet-stream]"
)
@click.option(
    "--users",
    type=click.IntRange(1, MOST_USERS),
    help=f"Connections at once. [default: {DEFAULT_USERS}; {USERS_OF_A_RATE} with --rate]",
)
@click.option(
    "--rate",
    type=Finite(0, MOST_RATE, min_open=True),
    help="Requests a second, whatever becomes of those before. [default: as fast as users can]",
)
@click.option(
    "--step",
    "steps",
    type=Finite(0, MOST_RATE, min_open=True),
    multiple=True,
    help="A further step of so many users, or with --rate of such a rate; may repeat.",
)
@click.option(
    "--duration",
    "duration_s",
    type=Finite(1, LONGEST_S),
    default=10.0,
    show_default=True,
    help="Seconds of each step.",
)
@click.option(
    "--timeout-s",
    type=Finite(0.01, 3600),
    default=10.0,
    show_default=True,
    help="For an answer; later ones have failed.",
)
@click.option(
    "--max-error-share", type=Finite(0, 1), help="With more failed requests the exit code is 1."
)
@click.option(
    "--max-p99-ms", type=Finite(0, 1e9, min_open=True), help="Over it the exit code is 1."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write locust's own page, too.",
)
@output_option
@workspace_option
def bench(
    where: str,
    data: str | None,
    content_type: str | None,
    timeout_s: float,
    max_error_share: float | None,
    max_p99_ms: float | None,
    report: Path | None,
    output: str,
    workspace_dir: str | None,
    **load: Any,
) -> None:
    """Test a deployment or server under load with locust, and draw what came of it.

    A deployment is asked at its URL, with its primary key where it wants one. A URL needs --data;
    /score is added to a bare one. Ctrl-C ends it and shows what there is."""
    from runtime.bench import Limits, require_locust, run, summary
    from runtime.bench.replicas import Watch
    from runtime.cli.bench_page import drawing, shown

    require_locust()
    if report is not None and not report.absolute().parent.is_dir():
        raise BadValueError(f"there is no folder for {report}")
    address = address_of(where, workspace_dir)
    if address.is_relayed:
        raise BadValueError(
            f"{where} is at {address.url} of the service's own machine: run inferry bench there, or"
            " deploy it where you can reach it"
        )
    bodies, said = _bodies(data, address, workspace_dir)
    plan = _plan(address, bodies, content_type, timeout_s, _steps(**load))
    _first_answer(address, plan)
    limits = Limits(max_error_share, None if max_p99_ms is None else max_p99_ms / 1000)
    with Watch(_places(address)) as watch, drawing(plan, is_quiet=output == "json") as draw:
        samples, is_whole = run(plan, report=report, on_samples=draw)
    found = Found(plan.url, said, summary(plan, samples, limits), watch.found(), is_whole)
    if output == "json":
        from runtime.cli.bench_record import record

        print_json(record(found))
    else:
        shown(found)
    for complaint in found.summary.complaints:
        click.echo(f"inferry: {one_line(complaint)}", err=True)
    if not is_whole:
        raise click.Abort
    if found.summary.complaints:
        raise click.exceptions.Exit(1)


def _steps(
    users: int | None, rate: float | None, steps: Sequence[float], duration_s: float
) -> tuple[Step, ...]:
    """Raises BadValueError."""
    from runtime.bench import Step

    if len(steps) >= MOST_STEPS:
        raise BadValueError(f"more than {MOST_STEPS} steps")
    if rate is not None:
        users = users or USERS_OF_A_RATE
        return tuple(Step(duration_s, users, each) for each in (rate, *steps))
    wrong = [each for each in steps if each != int(each) or each > MOST_USERS]
    if wrong:
        raise BadValueError(
            f"--step {wrong[0]:g} is no number of users up to {MOST_USERS}; with --rate it is a"
            " rate"
        )
    return tuple(Step(duration_s, int(each)) for each in (users or DEFAULT_USERS, *steps))


def _bodies(
    data: str | None, address: Address, workspace_dir: str | None
) -> tuple[tuple[bytes, ...], str]:
    """And what they are. Raises BadValueError."""
    from runtime.bench.bodies import MOST_BYTES, known_bodies, read_bodies, split_bodies

    if data == "-":
        given = sys.stdin.buffer.read(MOST_BYTES + 1)
        return split_bodies(given, "standard input", has_lines=False), "standard input"
    if data is not None:
        return read_bodies(Path(data)), data
    if address.deployment is None:
        raise BadValueError("--data is needed: a URL does not say what it takes")
    deployment = address.deployment
    live = [share.revision for share in deployment.traffic if not share.is_shadow]
    digest = deployment.revision(live[0] if live else deployment.goal).digest
    with open_workspace(workspace_dir) as workspace:
        return known_bodies(workspace, digest)


def _plan(
    address: Address,
    bodies: tuple[bytes, ...],
    content_type: str | None,
    timeout_s: float,
    steps: tuple[Step, ...],
) -> Plan:
    from runtime.bench import Plan
    from runtime.bench.bodies import is_json

    usual = "application/json" if is_json(bodies) else "application/octet-stream"
    headers = {"Content-Type": content_type or usual}
    if address.key is not None:
        headers["Authorization"] = f"Bearer {address.key}"
    duration_s = min(step.duration_s for step in steps)
    return Plan(
        urlunsplit(score_url(address.url)),
        bodies,
        steps,
        headers=headers,
        timeout_s=timeout_s,
        certificate=None if address.certificate is None else str(address.certificate),
        sample_s=min(1.0, max(SHORTEST_SAMPLE_S, duration_s / SAMPLES)),
    )


def _first_answer(address: Address, plan: Plan) -> None:
    """One request before the load, so that a wrong URL, key or body is said as what it is. Raises
    ScoringCallError."""
    try:
        call(
            plan.url,
            plan.bodies[0],
            content_type=plan.headers["Content-Type"],
            timeout_s=max(FIRST_ANSWER_S, plan.timeout_s),
            key=address.key,
            tls=address.tls(),
        )
    except ScoringCallError as error:
        if error.status == 401 and address.deployment is None:
            raise ScoringCallError(f"{error}; by its name a deployment's key is known") from error
        is_load = error.status is not None and (error.status == 429 or error.status >= 500)
        if not is_load:
            raise  # else it is a result as any other


def _places(address: Address) -> dict[str, Place]:
    """Where its replicas say how they are."""
    found: dict[str, Place] = {}
    observed = None if address.deployment is None else address.deployment.observed
    for replica in () if observed is None else observed.replicas:
        host, _, port = replica.address.rpartition(":")
        if host and port.isdecimal():
            found[replica.id] = (host.strip("[]"), int(port))
    return found
