"""Proofs inside real containers: the Docker Engine, a Debian base, real packages; no network, a
read-only root, a user without an account."""

from __future__ import annotations

import gc
import importlib.metadata
import io
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from registry.bundle_file import model_path
from registry.container_config import BaseConfig, ImageLayer, container_config, encoded
from registry.docker_engine import DockerEngine, connect
from registry.errors import CancelledError, ProofError
from registry.image_tree import BUNDLE_ROOT, PACKAGES_ROOT
from registry.layers import Entry, Layer
from registry.proof import ProofPlan
from registry.proof.container import engine_tag, forget
from registry.records import Model
from tests.engine import Engine
from tests.registry.proof.plans import HERE, Shelf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    # The SDK's attach() leaves its socket to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the base has Python 3.11"),
]

SERVER: tuple[str, ...] = (
    "numpy",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "prometheus-client",
)
SCRIPT: tuple[str, ...] = (*SERVER, "pysimdjson", "msgspec", "inference-schema", "werkzeug")
MODEL: tuple[str, ...] = (*SERVER, "pysimdjson", "msgspec", "onnxruntime", "ml-dtypes")
RUNS = "def run(raw):\n    return raw\n"


class Hull:
    """Containers on one base, of one test module; ``name`` is theirs in the engine."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.shelf = Shelf(folder)
        with base.open("rb") as file:
            digest, size = self.shelf.store.put(iter(partial(file.read, 2**20), b""))
        self.base = ImageLayer(Layer(digest, size, digest), "base", "base")
        self.packages = {kind: self._packages(kind) for kind in (SCRIPT, MODEL)}
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.engine: DockerEngine = connect()

    def plan(self, *, packages: tuple[str, ...] = SCRIPT, **options: Any) -> ProofPlan:
        model = options.pop("model", None) or self.shelf.model()
        plan = self.shelf.plan(packages=self.packages[packages], model=model, **options)
        layers = (self.base, *plan.layers, self._model(model))
        base = BaseConfig({}, "/usr/bin/python3")
        config = encoded(container_config(base, HERE.platform, layers, {}))
        return replace(plan, reference=f"{self.name}:1", layers=layers, config=config)

    def _packages(self, wanted: tuple[str, ...]) -> ImageLayer:
        entries = [
            Entry(f"{PACKAGES_ROOT}/{path}", found.stat().st_size, partial(io.FileIO, str(found)))
            for name in _with_dependencies(wanted)
            for path in importlib.metadata.files(name) or ()
            if path.parts[0] != ".." and path.suffix != ".pyc"
            for found in [Path(str(path.locate()))]
        ]
        return self.shelf.layer("dependencies", *entries, compress=False)

    def _model(self, model: Model) -> ImageLayer:
        entries = [
            Entry(
                f"{BUNDLE_ROOT}/{model_path(model)}/{file.path}",
                file.size_bytes,
                partial(self.shelf.store.open, file.digest),
            )
            for file in model.files
        ]
        return self.shelf.layer("model", *entries, compress=False)


@pytest.fixture(scope="module")
def made_hull(tmp_path_factory: pytest.TempPathFactory, debian_base: Path) -> Iterator[Hull]:
    hull = Hull(tmp_path_factory.mktemp("proof") / "workspace", debian_base)
    try:
        yield hull
    finally:
        forget(hull.engine, hull.name)
        hull.engine.close()


@pytest.fixture
def hull(made_hull: Hull, engine: Engine) -> Iterator[Hull]:
    made_hull.shelf.lines.clear()
    yield made_hull
    gc.collect()  # see pytestmark: not in the middle of another test


def test_a_model_is_scored_in_its_image(hull: Hull) -> None:
    plan = hull.plan(packages=MODEL, imports=("numpy", "onnxruntime"))
    proof = hull.shelf.prove(plan, engine=hull.engine)
    assert proof.how == "container"
    assert "answers a sample made from the signature with 200" in proof.detail
    assert proof.report is not None
    assert proof.report["imports"] == {"numpy": None, "onnxruntime": None}
    assert not any('"imports"' in line for line in hull.shelf.lines)


def test_a_script_runs_alone_and_without_rights_and_without_onnxruntime(hull: Hull) -> None:
    script = (
        "import os, json\n"
        "def init():\n"
        "    assert os.listdir('/sys/class/net') == ['lo']\n"
        "    assert os.getuid() == 10001\n"
        "    import importlib.util\n"
        "    assert importlib.util.find_spec('onnxruntime') is None\n"
        "def run(raw):\n"
        "    try:\n"
        "        open('/opt/inferry/bundle/new', 'w')\n"
        "    except OSError as error:\n"
        "        return {'said': error.strerror}\n"
    )
    proof = hull.shelf.prove(hull.plan(script=script, sample=b"[1]"), engine=hull.engine)
    assert proof.how == "container"
    assert "answers the given sample with 200" in proof.detail


def test_only_what_changed_is_sent(hull: Hull) -> None:
    def sent(number: int) -> int:
        script = f"def init():\n    pass\n{RUNS}# {number}\n"
        hull.shelf.prove(hull.plan(script=script), engine=hull.engine)
        found = [re.match(r"proof: (\d) of 5 layers sent", line) for line in hull.shelf.lines]
        return int(next(match[1] for match in reversed(found) if match))

    sent(1)
    assert sent(2) == 2  # the code, and the model above it
    assert sent(2) == 0


FAILING = [
    (
        "def init():\n    open('new', 'w')\n",
        "init() raised OSError: [Errno 30] Read-only file system",
    ),
    ("import os\ndef init():\n    os.kill(os.getpid(), 9)\n", "was ended by SIGKILL"),
    ("import sklearn\ndef init():\n    pass\n", "No module named 'sklearn'"),
    ("def init():\n    bytearray(2 ** 31)\n", "SIGKILL"),
]


@pytest.mark.parametrize(("script", "cause"), FAILING)
def test_a_script_that_fails_in_its_image_is_no_success(
    hull: Hull, script: str, cause: str
) -> None:
    plan = hull.plan(script=script + RUNS, sample=b"1", memory_bytes=2**29)
    with pytest.raises(ProofError) as raised:
        hull.shelf.prove(plan, engine=hull.engine)
    assert cause in str(raised.value) or "more than its memory" in str(raised.value)


def test_a_package_that_does_not_import_there_is_named(hull: Hull) -> None:
    plan = hull.plan(script=f"def init():\n    pass\n{RUNS}", imports=("msgspec", "sklearn"))
    with pytest.raises(ProofError, match="import of 'sklearn' failed: ModuleNotFoundError"):
        hull.shelf.prove(plan, engine=hull.engine)


def test_what_the_engine_keeps_can_be_forgotten(hull: Hull, engine: Engine) -> None:
    tag = engine_tag(f"{hull.name}:1")
    hull.shelf.prove(hull.plan(script=f"def init():\n    pass\n{RUNS}"), engine=hull.engine)
    assert engine.run("images", "--quiet", tag)
    forget(hull.engine, hull.name)
    forget(hull.engine, hull.name)
    assert not engine.run("images", "--quiet", tag)


def test_one_that_hangs_is_ended(hull: Hull, engine: Engine) -> None:
    script = f"import time\ndef init():\n    time.sleep(300)\n{RUNS}"
    with pytest.raises(ProofError, match="not ready after 3 s"):
        hull.shelf.prove(hull.plan(script=script, timeout_s=3.0), engine=hull.engine)
    assert _containers(hull, engine) == []


def test_a_cancelled_one_leaves_no_container(hull: Hull, engine: Engine) -> None:
    script = f"import time\ndef init():\n    print('now')\n    time.sleep(300)\n{RUNS}"
    lines = hull.shelf.lines
    with pytest.raises(CancelledError):
        hull.shelf.prove(
            hull.plan(script=script),
            engine=hull.engine,
            cancelled=lambda: any("now" in line for line in lines),
        )
    assert _containers(hull, engine) == []


def _containers(hull: Hull, engine: Engine) -> list[str]:
    ancestor = f"ancestor={engine_tag(f'{hull.name}:1')}"
    return engine.run("ps", "--all", "--quiet", "--filter", ancestor).split()


def _with_dependencies(names: tuple[str, ...]) -> list[str]:
    """Installed distributions and what they need, extras aside."""
    waiting, found = list(names), {}
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if key not in found:
            found[key] = name
            for requirement in distribution.requires or ():
                if "extra ==" not in requirement:
                    waiting.append(re.split(r"[^\w.-]", requirement)[0])
    return list(found.values())
