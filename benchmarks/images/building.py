"""How long builds take, how large they are, and whether the same inputs make the same bytes."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.images.study import SCRIPTED, Study
from benchmarks.images.workspaces import (
    SCORE,
    Inputs,
    Workspace,
    changed_layers,
    changed_script,
    heavy_model,
    require,
)
from benchmarks.models import at_most
from benchmarks.outcome import Finding, Outcome, table

REPEATS = 5
LATER_DAYS = 3
PROOF = {"without the proof": ("--no-proof",), "with the proof": ()}


def first_build(study: Study) -> Outcome:
    """In new workspaces that have the wheels, and the base as a tar."""
    outcome = Outcome("images")
    for how, options in PROOF.items():
        times_s = []
        for _ in range(REPEATS):
            workspace = study.digits_workspace("first", wheels=study.workspace)
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
        for how, options in PROOF.items():
            inputs = Inputs("heavy", script, options)
            what = f"rebuild after a change of {changed}, 100 MB of weights, {how}"
            _add_rebuilds(outcome, what, *_rebuilds(workspace, inputs, change))
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
    """Of all layers but the base's."""
    layers = [
        layer for layer in study.workspace.image(SCRIPTED)["layers"] if layer["kind"] != "base"
    ]
    unpacked = [study.workspace.unpacked_bytes(layer) for layer in layers]
    rows = [
        [layer["kind"], f"{size / 1e6:.2f}", f"{layer['size_bytes'] / 1e6:.2f}"]
        for layer, size in zip(layers, unpacked, strict=True)
    ]
    compressed_mb = sum(layer["size_bytes"] for layer in layers) / 1e6
    what = "digits with onnxruntime: size above the base, unpacked"
    found = at_most(what, 180, sum(unpacked) / 1e6, "MB")
    stored = Finding(
        "digits with onnxruntime: as it is pulled", "-", f"{compressed_mb:.1f} MB", None
    )
    header = ["layer of the digits image", "unpacked MB", "as stored and pulled MB"]
    return Outcome("images", [found, stored], [table(header, rows)])


def digests(study: Study) -> Outcome:
    """The same inputs in another folder with other times, in another time zone, days later."""
    faketime = require("faketime")
    other = study.scratch / "another folder/deeper"
    other.mkdir(parents=True)
    model, script = other / study.digits.model.name, other / SCORE.name
    for source, copy in ((study.digits.model, model), (SCORE, script)):
        shutil.copyfile(source, copy)
        copy.chmod(0o600)
        os.utime(copy, (0, 0))
    workspace = Workspace.new(
        other / "workspace",
        study.base,
        wheels=study.workspace,
        before=(faketime, f"+{LATER_DAYS} days"),
        environment={"TZ": "Asia/Tokyo", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "LC_ALL": "C"},
    )
    workspace.register("digits", model)
    workspace.create(SCRIPTED, Inputs("digits", script, ("--no-proof",)))
    first, later = study.workspace.image(f"{SCRIPTED}:1"), workspace.image(f"{SCRIPTED}:1")
    same = first["digest"] == later["digest"]
    differ = ", ".join(layer["kind"] for layer in changed_layers(first, later)) or "the config"
    found = Finding(
        f"two builds from the same inputs: another folder, time zone and umask, {LATER_DAYS} days"
        f" later ({later['created_at'][:10]} after {first['created_at'][:10]})",
        "equal digests",
        first["digest"][:19] if same else f"differ in {differ}",
        same,
    )
    study.forget(workspace)
    return Outcome("images", [found])


def _spread(times_s: Sequence[float]) -> str:
    return f"{min(times_s):.2f} to {max(times_s):.2f} s, {len(times_s)} times"
