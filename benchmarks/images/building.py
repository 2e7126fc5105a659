"""How long builds take, how large they are, and whether the same inputs make the same bytes."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.images.study import PLAIN, SCRIPTED, Study
from benchmarks.images.workspaces import (
    SCORE,
    Inputs,
    Workspace,
    changed_layers,
    changed_script,
    heavy_model,
)
from benchmarks.models import at_most
from benchmarks.outcome import Finding, Outcome, table

REPEATS = 5
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere"}
PROOF: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "without the proof": (("--no-proof",), {}),
    "proven in a process": ((), NO_ENGINE),
    "proven in a container": ((), {}),
}


def first_build(study: Study) -> Outcome:
    """In new workspaces that have the wheels, and the base as a tar."""
    outcome = Outcome("images")
    for how, (options, environment) in PROOF.items():
        times_s = []
        for _ in range(REPEATS):
            made = study.digits_workspace("first", wheels=study.workspace)
            workspace = replace(made, environment=environment)
            times_s.append(workspace.create(SCRIPTED, Inputs("digits", SCORE, options)))
            study.forget(workspace)
        what = f"first build of digits with its script, wheels cached, {how}"
        outcome.findings.append(at_most(what, 10, statistics.median(times_s), "s"))
        outcome.notes.append(f"{what}: {_spread(times_s)}.")
    return outcome


def rebuild(study: Study) -> Outcome:
    """After a change of the script, and of a model with 100 MB of weights."""
    workspace = Workspace.new(study.scratch / "rebuild", study.base, wheels=study.workspace)
    weights, script = study.scratch / "heavy/model.onnx", study.scratch / "rebuild-code/score.py"

    def change_script(number: int) -> None:
        changed_script(script, number)

    def change_model(number: int) -> None:
        workspace.register("heavy", heavy_model(weights, number))

    change_script(0)
    change_model(0)
    workspace.create("heavy", Inputs("heavy", script))
    outcome = Outcome("images")
    for changed, change in (("the script", change_script), ("the model", change_model)):
        for how, (options, environment) in PROOF.items():
            inputs = Inputs("heavy", script, options)
            what = f"rebuild after a change of {changed}, 100 MB of weights, {how}"
            place = replace(workspace, environment=environment)
            _add_rebuilds(outcome, what, *_rebuilds(place, inputs, change))
    study.forget(workspace)
    return outcome


def _rebuilds(
    workspace: Workspace, inputs: Inputs, change: Callable[[int], None]
) -> tuple[list[float], list[list[dict[str, Any]]]]:
    """The seconds of each, and the layers that it wrote. Only ``create`` is timed."""
    times_s, layers = [], []
    for _ in range(REPEATS):
        before = workspace.image("heavy")
        change(before["version"])  # a number that was not there yet
        times_s.append(workspace.create("heavy", inputs))
        layers.append(changed_layers(before, workspace.image("heavy")))
    return times_s, layers


def _add_rebuilds(
    outcome: Outcome, what: str, times_s: Sequence[float], layers: Sequence[list[dict[str, Any]]]
) -> None:
    outcome.findings.append(at_most(what, 1, statistics.median(times_s), "s"))
    outcome.notes.append(f"{what}: {_spread(times_s)}.")
    most = max(len(written) for written in layers)
    kinds = ", ".join(layer["kind"] for layer in max(layers, key=len))
    outcome.findings.append(Finding(f"{what}: layers written", "1", f"{most} ({kinds})", most == 1))


def sizes(study: Study) -> Outcome:
    """Of all layers but the base's, of the model alone and of the model with its script."""
    outcome, rows = Outcome("images"), []
    for name, what in ((PLAIN, "digits, by onnxruntime"), (SCRIPTED, "digits with its script")):
        layers = [la for la in study.workspace.image(name)["layers"] if la["kind"] != "base"]
        unpacked = [study.workspace.unpacked_bytes(layer) for layer in layers]
        rows += [
            [what, layer["kind"], f"{size / 1e6:.2f}", f"{layer['size_bytes'] / 1e6:.2f}"]
            for layer, size in zip(layers, unpacked, strict=True)
        ]
        stored_mb = sum(layer["size_bytes"] for layer in layers) / 1e6
        unpacked_mb = sum(unpacked) / 1e6
        outcome.findings += [
            at_most(f"{what}: size above the base, unpacked", 180, unpacked_mb, "MB"),
            Finding(f"{what}: the same as it is pulled", "-", f"{stored_mb:.1f} MB", None),
        ]
    outcome.tables.append(table(["image", "layer", "unpacked MB", "as pulled MB"], rows))
    return outcome


def digests(study: Study) -> Outcome:
    """The same inputs in another folder, with other times and modes, in another time zone. That the
    day makes no difference is shown by tests/registry/test_containers.py, with a clock of 2055."""
    first = _built(study, "a folder", 0o644, 1_000_000_000, {})
    later = _built(study, "another/deeper", 0o600, 0, {"TZ": "Asia/Tokyo", "LC_ALL": "C"})
    same = first["digest"] == later["digest"]
    differ = ", ".join(layer["kind"] for layer in changed_layers(first, later)) or "the config"
    found = Finding(
        "two builds from the same inputs: another folder, time zone, modes and times of files",
        "equal digests",
        first["digest"][:19] if same else f"differ in {differ}",
        same,
    )
    return Outcome("images", [found])


def _built(
    study: Study, folder: str, mode: int, time_s: int, environment: Mapping[str, str]
) -> dict[str, Any]:
    place = study.scratch / folder
    place.mkdir(parents=True)
    model, script = place / study.digits.model.name, place / SCORE.name
    for source, copy in ((study.digits.model, model), (SCORE, script)):
        shutil.copyfile(source, copy)
        copy.chmod(mode)
        os.utime(copy, (time_s, time_s))
    workspace = Workspace.new(
        place / "workspace", study.base, wheels=study.workspace, environment=environment
    )
    workspace.register("digits", model)
    workspace.create(SCRIPTED, Inputs("digits", script, ("--no-proof",)))
    image = workspace.image(f"{SCRIPTED}:1")
    study.forget(workspace)
    return image


def _spread(times_s: Sequence[float]) -> str:
    return f"{min(times_s):.2f} to {max(times_s):.2f} s, {len(times_s)} times"
