"""A workspace with something on every page. ``word`` stands in every text that a user may set."""

from __future__ import annotations

import math
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.hub.rollout_policy import Policy
from edge.layering import Layer
from fpga.report import Accuracy, Hardware, Proof, Report
from fpga.report import Layer as FpgaLayer
from registry import Workspace
from registry.activities.hooks import ActivityHooks
from registry.clock import utc_now
from registry.database import Database
from registry.deployments import Observed, Replica
from registry.fpga_artifact import FpgaContents
from registry.paths import WorkspacePaths
from runtime.pipelines import Pipeline
from runtime.tracking import Run
from tests.edge.rollouts.small_hub import NEW, SmallHub, module
from tests.registry.fpga_folders import fpga_folder
from tests.registry.onnx_files import adder
from tests.runtime.pipelines.conftest import Field, script

DEVICES = ("gate-north", "gate-south", "press-3", "press-4")


@dataclass(frozen=True, slots=True)
class Content:
    """What there is, as paths of the portal below the workspace."""

    workspace: Workspace
    experiment: int
    runs: tuple[str, ...]
    activity: str
    pipeline: str

    @property
    def pages(self) -> tuple[str, ...]:
        """All that can be looked at."""
        run = f"/runs/{self.runs[0]}"
        return (
            "",
            "/experiments",
            f"/experiments/{self.experiment}",
            f"/compare?run={self.runs[0]}&run={self.runs[1]}",
            run,
            f"{run}/preview/notes.txt",
            f"{run}/preview/images/sample.png",
            f"{run}/environment",
            "/pipelines",
            f"/pipelines/{self.pipeline}",
            "/compute",
            "/devices",
            f"/devices/{DEVICES[0]}",
            "/rollouts",
            "/rollouts/1",
            "/models",
            "/models/digits",
            "/models/digits/1",
            "/formats",
            "/images",
            "/images/digits/1",
            "/fpga",
            "/fpga/digits-fpga/1",
            "/deployments",
            "/deployments/web",
            "/deployments/web/try",
            "/activities",
            f"/activities/{self.activity}",
            "/activity-hooks",
            "/lineage/model/digits:1",
            "/audit",
            "/tokens",
        )

    @property
    def live(self) -> tuple[str, ...]:
        """Parts that the server sends."""
        return (
            f"/runs/{self.runs[0]}/live",
            f"/pipelines/{self.pipeline}/live",
            "/rollouts/1/live",
            "/deployments-live",
            "/deployments/web/live",
            "/activities-live",
            f"/activities/{self.activity}/live",
        )


def fill(folder: Path, word: str = "") -> Content:
    """A new workspace at ``folder/ws``."""
    workspace = Workspace.init(folder / "ws", base="none")
    runs = tuple(_train(workspace, folder, word, number) for number in range(3))
    found = workspace.tracking.runs.get(runs[0])
    workspace.tracking.runs.describe(
        found.id,
        revision="0123456789abcdef0123456789abcdef01234567",
        environment=msgspec.json.encode(
            {"python": f"3.11 {word}", "packages": ["numpy==2"]}
        ).decode(),
    )
    workspace.models.register(
        adder(folder / "in/net.onnx"),
        name="digits",
        tags={"task": f"digits {word}"},
        properties={"rows": f"1797 {word}"},
        description=f"Handwritten digits {word}",
        run=runs[0],
    )
    workspace.aliases.set("digits", "champion", 1, who=f"ada {word}")
    workspace.images.create("digits", models=["digits"], description=f"Serves digits {word}")
    _fpga(workspace, folder)
    _deploy(workspace, word)
    _devices(workspace, word)
    field = Field(workspace)
    pipeline = Pipeline(
        "nightly", (script("load"), script("train", "load"), script("check", "train", "load"))
    )
    view = field.run(pipeline)
    with workspace.activities.start("image", f"digits:1 {word}") as activity:
        activity.phase(f"Packing {word}", total=100)
        activity.advance(40)
    paths = WorkspacePaths(workspace.root)
    hooks = ActivityHooks(paths, Database(paths.database), utc_now)
    hooks.add("https://chat.example/hook?to=ops", kinds=["purge"], random=os.urandom)
    return Content(workspace, found.experiment_id, runs, activity.id, view.run_id)


def png(width: int = 8, height: int = 8) -> bytes:
    """A small grey picture."""

    def part(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + bytes((x * y * 4) % 256 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", header)
        + part(b"IDAT", zlib.compress(rows))
        + part(b"IEND", b"")
    )


def _train(workspace: Workspace, folder: Path, word: str, number: int) -> str:
    files = folder / f"outputs-{number}"
    files.mkdir(parents=True)
    (files / "notes.txt").write_text(f"what was seen {word}\n")
    (files / "page.html").write_text("<script>document.title = 'bad'</script>")
    (files / "drawing.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    )
    (files / "images").mkdir()
    (files / "images/sample.png").write_bytes(png(24, 24))
    with Run(
        f"digits {word}".strip(), name=f"try {number} {word}".strip(), workspace=workspace.root
    ) as run:
        run.log_params({"depth": str(number), "optimiser": f"adam {word}", "same": "1"})
        run.set_tags({"stage": f"trial {word}", f"key {word}".strip(): "x"})
        run.add_properties({"data": f"sha256 {word}"})
        for step in range(40):
            run.log("loss", math.exp(-step / (8 + number * 3)) + 0.05 * math.sin(step), step)
            run.log("accuracy", 1 - math.exp(-(step + 1) / (6 + number * 2)), step)
        run.log_list(f"sizes {word}".strip(), [1, 2, f"three {word}"])
        run.log_table("scores", {f"digit {word}": [0, 1, 2], "right": [0.98, 0.97, 0.99]})
        run.log_confusion_matrix(
            "confusion",
            {
                "schema_type": "confusion_matrix",
                "data": {"class_labels": ["a", f"b {word}"], "matrix": [[9, 1], [2, 8]]},
            },
        )
        run.log_image("picture", path=files / "images/sample.png")
        run.note(f"epoch 40 of 40 {word}")
        run.upload_folder("", files)
        if number == 0:
            with run.child(f"fold {word}".strip()) as child:
                child.log("loss", 0.5)
        return str(run.id)


def _fpga(workspace: Workspace, folder: Path) -> None:
    layers = tuple(
        FpgaLayer(f"conv{n}", "Conv", 100_000 * n, 2000 * n, 0.7, 4096, n == 3, "array", n, n)
        for n in (1, 2, 3)
    )
    report = Report(
        "digits",
        Hardware("pynq-z1", "xc7z020clg400-1", "simulation", 32, "abc", 100.0),
        layers,
        600_000,
        {"weights": (3000, 8192), "samples": (512, 1024)},
        Proof(10, 200, 5, 6, 0, 123),
        False,
        12_000,
        11_000.0,
        0.71,
        200_000,
        0,
        64,
        1 << 20,
        ("Softmax",),
        100,
        16,
        Accuracy(360, 0.99, 2.0, 0.2, 0.97, 0.965),
    )
    made = fpga_folder(folder / "compiled", report_json=msgspec.json.encode(report))
    workspace.images.create_fpga(
        "digits-fpga", models=["digits"], make=lambda *_: FpgaContents(made)
    )


def _deploy(workspace: Workspace, word: str) -> None:
    workspace.deployments.create("web", "digits:1", actor="ada")
    replicas = (
        Replica("web.1.a1", 1, "ready", "127.0.0.1:1", "", "", "2026-11-27T11:00:00Z"),
        Replica(
            "web.1.a2",
            1,
            "failed",
            "127.0.0.1:1",
            f"it ended with 1 {word}",
            f"Traceback {word}",
            "2026-11-27T11:00:00Z",
        ),
    )
    seen = Observed(
        "degraded",
        f"1 of 2 replicas failed {word}",
        "http://127.0.0.1:1/score",
        1,
        replicas,
        "2026-11-27T11:00:05Z",
    )
    workspace.deployments.observe("web", seen)
    workspace.deployments.note("web", f"noticed {word}".strip(), {"why": word}, actor="controller")


def _devices(workspace: Workspace, word: str) -> None:
    (workspace.root / "edge").mkdir(mode=0o700)
    hub = SmallHub(workspace.root / "edge", [])
    hub.now_ms = int(time.time() * 1000)
    for name in DEVICES:
        hub.enrol(name, site=f"hall 1 {word}"[:100])
    hub.deployments.put(Layer("all", modules=(module(),)), by=f"ann {word}"[:60])
    for name in DEVICES:
        hub.report(name)
    hub.connect(DEVICES[3], online=False)
    hub.rollouts.start(
        "all",
        "digits",
        image="digits:2",
        digest=NEW,
        by="bob",
        policy=Policy(batches=("2", "100%")),
    )
    for name in hub.tick():
        hub.report(name, phase="failed", error=f"gate: wrong answer {word}")
    hub.tick()


@contextmanager
def running_activity(workspace: Workspace) -> Iterator[str]:
    """One that runs during the block."""
    with workspace.activities.start("image", "digits:2") as activity:
        activity.phase("Packing", total=100)
        yield activity.id
