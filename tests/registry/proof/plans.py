"""Images to prove: in a store of their own, with layers as an image has them.

    shelf = Shelf(tmp_path)
    plan = shelf.plan(script="def init(): ...")
    proof = shelf.prove(plan)

Their layer of packages holds no packages but a line that finds those installed here, which a test
need not pack.
"""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, numpy_helper

from registry.assembly import server_layer
from registry.blobs import BlobStore
from registry.bundle_file import bundle_json
from registry.container_config import ImageLayer
from registry.docker_engine import ContainerEngine
from registry.image_tree import BUNDLE_ROOT, PACKAGES_ROOT
from registry.layers import Entry, Layer, bytes_entry, write_layer
from registry.paths import WorkspacePaths
from registry.platforms import Platform, Target
from registry.proof import Proof, ProofPlan, UnpackedLayers, prove
from registry.records import Model, StoredFile

HERE = Target(
    Platform("amd64" if platform.machine() == "x86_64" else "arm64"),
    (sys.version_info[0], sys.version_info[1]),
    (2, 17),
)
FINDS_OURS = f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})\n"


class NoCache:
    """Of layers: each is written."""

    def find(self, model: Model) -> Layer | None:
        return None

    def add(self, model: Model, layer: Layer) -> None: ...

    def find_built(self, key: str) -> Layer | None:
        return None

    def add_built(self, key: str, layer: Layer) -> None: ...


@dataclass
class Shelf:
    """A workspace's store and unpacked layers, without the records."""

    folder: Path
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = BlobStore(WorkspacePaths(self.folder))
        self.store.create()
        self.place = self.folder / "unpacked"
        self.unpacked = UnpackedLayers(self.place)

    def layer(self, kind: str, *entries: Entry, compress: bool = True) -> ImageLayer:
        made = write_layer(self.store, entries, lambda count: None, compress=compress)
        return ImageLayer(made, kind, kind)

    def packages(self, **modules: str) -> ImageLayer:
        texts = {"sitecustomize": FINDS_OURS, **modules}
        return self.layer(
            "dependencies",
            *(bytes_entry(f"{PACKAGES_ROOT}/{n}.py", t.encode()) for n, t in texts.items()),
        )

    def model(self, data: bytes | None = None) -> Model:
        data = tiny_model() if data is None else data
        digest, size = self.store.put([data])
        file = StoredFile("model.onnx", size, digest)
        return Model("m", 1, "", "", digest, size, files=(file,), entry="model.onnx")

    def plan(
        self,
        *,
        script: str | None = None,
        packages: ImageLayer | None = None,
        model: Model | None = None,
        **options: Any,
    ) -> ProofPlan:
        model = model or self.model()
        name = None if script is None else "score.py"
        description = bundle_json("i", 1, [model], entry_script=name)
        code = [bytes_entry(f"{BUNDLE_ROOT}/bundle.json", description)]
        if script is not None:
            code.append(bytes_entry(f"{BUNDLE_ROOT}/code/score.py", script.encode()))
        layers = (
            packages or self.packages(),
            server_layer(self.store, HERE.python, NoCache()),
            self.layer("code", *code),
        )
        options = {"target": HERE, "python_path": "/usr/bin/python3", "timeout_s": 30.0, **options}
        return ProofPlan("i:1", layers, (model,), **options)

    def prove(
        self,
        plan: ProofPlan,
        *,
        engine: ContainerEngine | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Proof:
        return prove(
            plan,
            store=self.store,
            unpacked=self.unpacked,
            engine=engine,
            on_line=self.lines.append,
            cancelled=cancelled,
        )

    def left(self) -> list[str]:
        """What proofs have left besides unpacked layers."""
        return [path.name for path in self.place.iterdir() if path.name.startswith(".")]


def tiny_model(size: int = 4) -> bytes:
    """y = x * w, with rows of ``size``."""
    import numpy as np

    weights = numpy_helper.from_array(np.ones((size, size), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", size])],
        [weights],
    )
    opset = helper.make_opsetid("", 17)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    data: bytes = made.SerializeToString()
    return data
