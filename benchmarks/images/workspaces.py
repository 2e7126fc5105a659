"""Workspaces that the command ``inferry`` fills, as a person would; and what a build is made of.

workspace = Workspace.new(folder, base)
workspace.register("digits", model_file)
took_s = workspace.create("digits", inputs)
workspace.image("digits:1")["digest"]
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.contestants import BIN
from benchmarks.outcome import ROOT

HIDDEN = 4963
"""Of the model of 100 MB: 64 x 4963 + 4963 x 4963 + 4963 x 10 float32."""
SCORE = ROOT / "examples/digits/score.py"


Command = Sequence[str | Path]


class NotMeasuredError(Exception):
    """A program or file is missing, or a command failed; ``str()`` says which and how."""


def debian_base() -> Path:
    """The root file system that images start from here. Raises NotMeasuredError."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "unknown")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    path = ROOT / f"build/base/{release}-{architecture}.tar"
    if not path.exists():
        raise NotMeasuredError(f"no {path.relative_to(ROOT)}: as root, scripts/test-base")
    return path


def require(program: str) -> str:
    """Where that program is. Raises NotMeasuredError."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        raise NotMeasuredError(f"no {program}: as root, scripts/system-packages --bench")
    return found


def output_of(
    command: Command,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """What it prints. Raises NotMeasuredError with its complaint."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise NotMeasuredError(f"{' '.join(map(str, command))}: {said}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Inputs:
    """What ``image create`` is told beside the image's name."""

    model: str
    script: Path | None = None
    options: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """As words of the command line."""
        script = () if self.script is None else ("--script", str(self.script))
        return ["--model", self.model, *script, *self.options]


@dataclass(frozen=True, slots=True)
class Workspace:
    """One on disk."""

    root: Path
    base: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        root: Path,
        base: Path,
        *,
        wheels: Workspace | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Workspace:
        """An empty one; with the wheels that another has already downloaded."""
        made = cls(root, base, environment or {})
        output_of([BIN / "inferry", "init", root])
        if wheels is not None:
            shutil.rmtree(root / "wheels", ignore_errors=True)
            shutil.copytree(wheels.root / "wheels", root / "wheels")
        return made

    def inferry(self, *arguments: str | Path) -> str:
        """Runs one command of it."""
        command = [BIN / "inferry", *arguments]
        return output_of(command, {**self.environment, "INFERRY_WORKSPACE": str(self.root)})

    def register(self, name: str, path: Path) -> None:
        """A model's next version."""
        self.inferry("model", "register", path, "--name", name)

    def create(self, name: str, inputs: Inputs) -> float:
        """The seconds that the next version of the image took, with the start of the command."""
        began_s = time.perf_counter()
        self.inferry("image", "create", name, "--base", self.base, *inputs.arguments())
        return time.perf_counter() - began_s

    def image(self, ref: str) -> dict[str, Any]:
        """Its record."""
        return cast(
            dict[str, Any], json.loads(self.inferry("image", "show", ref, "--output", "json"))
        )

    def blob(self, digest: str) -> Path:
        """Where the bytes of that digest lie."""
        return self.root / "store/blobs/sha256" / digest.removeprefix("sha256:")

    def unpacked_bytes(self, layer: Mapping[str, Any]) -> int:
        """What the files of a layer hold together."""
        path = self.blob(layer["digest"])
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        with (
            gzip.open(path) if is_packed else path.open("rb") as stream,
            tarfile.open(fileobj=cast(Any, stream), mode="r|") as tar,
        ):
            return sum(member.size for member in tar if member.isreg())


def changed_layers(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers of an image that an earlier one does not have."""
    known = {layer["digest"] for layer in before["layers"]}
    return [layer for layer in after["layers"] if layer["digest"] not in known]


def heavy_model(path: Path, seed: int) -> Path:
    """Writes a model with the inputs and outputs of digits, and 100 MB of weights by the seed."""
    random = np.random.default_rng(seed)
    shapes = [(64, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 10)]
    weights = [
        numpy_helper.from_array(random.standard_normal(s, dtype=np.float32) / 64, f"w{i}")
        for i, s in enumerate(shapes)
    ]
    names = ["pixels", "h0", "h1", "scores"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(3)]
    nodes.append(helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    ends = [
        helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 64]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10]),
    ]
    graph = helper.make_graph(nodes, "heavy", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path


def changed_script(path: Path, number: int) -> Path:
    """Writes the script of examples/digits with another comment for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{SCORE.read_text()}\n# change {number}\n")
    return path
