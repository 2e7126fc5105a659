"""The part ``images`` of the suite: its measurements one after another. One that cannot be made
leaves a note and stops none of the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from benchmarks.images import building, dependencies, starting, travel
from benchmarks.images.dependencies import Needs, Weight
from benchmarks.images.study import Study
from benchmarks.images.workspaces import NotMeasuredError
from benchmarks.outcome import Finding, Outcome, table
from benchmarks.rates import Plan

MEASUREMENTS: dict[str, Callable[[Study], Outcome]] = {
    "rebuild": building.rebuild,
    "first build": building.first_build,
    "sizes": building.sizes,
    "digests": building.digests,
    "docker run": starting.starting,
    "bytes on the wire": travel.wire,
    "blob throughput": travel.throughput,
}
PEERS: dict[str, Callable[[Study], Needs]] = {
    "inferry": lambda study: dependencies.ours(),
    "MLflow, sklearn": lambda s: dependencies.mlflow("sklearn", s.digits.model, s.scratch),
    "MLflow, onnx": lambda s: dependencies.mlflow("onnx", s.digits.model, s.scratch),
    "BentoML, sklearn": lambda s: dependencies.bentoml("sklearn", s.scratch),
    "BentoML, onnx": lambda s: dependencies.bentoml("onnx", s.scratch),
}
HEADER = ["what the image installs", "Python packages", "unpacked MB", "with bytecode MB"]
HEADER += ["gzip MB", "Debian packages", "to download", "unpacked"]


def images(plan: Plan) -> Outcome:
    """All of them; ``plan``'s rounds and seconds are those of servers and do not apply."""
    study, outcome = Study(plan.scratch), Outcome("images")
    for name, measure in {**MEASUREMENTS, "peers": peers}.items():
        print(f"  {name}", flush=True)
        try:
            found = measure(study)
        except NotMeasuredError as error:
            found = _not_measured(name, str(error))
        except Exception as error:  # the others can be measured
            traceback.print_exc()
            found = _not_measured(name, f"{type(error).__name__}: {error}")
        outcome.findings += found.findings
        outcome.tables += found.tables
        outcome.notes += found.notes
    for finding in outcome.findings:
        print(f"  {finding.what}: {finding.measured} ({finding.reach})", flush=True)
    return outcome


def peers(study: Study) -> Outcome:
    """What ours, MLflow's and BentoML's images for the digits install above the base."""
    outcome, rows = Outcome("images"), []
    for name, needs_of in PEERS.items():
        try:
            needs = needs_of(study)
            rows.append(_row(needs, dependencies.weigh(needs, study.scratch)))
        except NotMeasuredError as error:
            outcome.notes += _not_measured(name, str(error)).notes
    outcome.tables.append(table(HEADER, rows))
    outcome.notes.append(
        f"Weighed for {dependencies.PLATFORM} and Python {dependencies.PYTHON}; the Debian packages"
        " as apt says, above the base of the tests. *onnx*: the same file as ours."
    )
    return outcome


def _row(needs: Needs, weight: Weight) -> list[str]:
    sizes = (weight.unpacked_bytes, weight.with_bytecode_bytes, weight.gzip_bytes)
    numbers = [str(weight.distributions), *(f"{size / 1e6:.1f}" for size in sizes)]
    system = " ".join(needs.system_packages) or "-"
    return [needs.name, *numbers, system, weight.system_download, weight.system_unpacked]


def _not_measured(name: str, why: str) -> Outcome:
    found = Finding(name, "-", "-", None)
    return Outcome("images", [found], notes=[f"{name}: {' '.join(why.split())[-500:]}"])
