"""What a user installs: the wheel's packages, its command, and what its extras leave out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import onnx
import pytest

from tests.ports import free_port
from tests.runtime.server import Server, request

ROOT = Path(__file__).parents[1]
LOCKS = ["serve", "demo", "dev", "build"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves a build folder beside what it builds."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--wheel-dir", source / "out", source], check=True, timeout=120)
    return next((source / "out").glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "registry",
        "scoring",
        "runtime",
        "edge",
        "fpga",
    }
    tracked = {str(p.relative_to(ROOT)) for p in (ROOT / "registry").rglob("*.sql")}
    assert tracked <= set(names)


@pytest.mark.slow
def test_the_wheel_installs_into_a_new_environment_and_its_command_answers(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    pip: list[str | Path] = [
        tmp_path / "venv/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
    ]
    click = re.search(
        r"^click==.*?(?=^\w)", (ROOT / "requirements/serve.txt").read_text(), re.M | re.S
    )
    assert click is not None
    (tmp_path / "click.txt").write_text(click[0])
    subprocess.run(
        [*pip, "--require-hashes", "-r", tmp_path / "click.txt"], check=True, timeout=200
    )
    subprocess.run([*pip, wheel], check=True, timeout=200)
    done = subprocess.run(
        [tmp_path / "venv/bin/inferry", "--help"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "inferry" in done.stdout


@pytest.mark.parametrize("role", LOCKS)
def test_locks_pin_everything_by_hash_and_name_no_host(role: str) -> None:
    text = (ROOT / f"requirements/{role}.txt").read_text()
    requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    for requirement in requirements:
        assert re.match(r"[a-z0-9._-]+==\S+( ; .+)? \\$", requirement), requirement
    assert "://" not in text
    assert "-url" not in text


def test_locks_agree_on_every_version() -> None:
    def versions(role: str) -> set[str]:
        text = (ROOT / f"requirements/{role}.txt").read_text()
        return set(re.findall(r"^([a-z0-9._-]+==[^ ]+)", text, re.M))

    assert versions("serve") <= versions("demo") <= versions("dev")


LOAD = """
import os, sys
from pathlib import Path
from scoring.onnx_engine import OnnxEngine
OnnxEngine.load(Path(sys.argv[1]))
assert "onnxruntime" in sys.modules
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
SCRIPT = """
import os
seen = os.environ.get("ORT_DISABLE_TELEMETRY")
import onnxruntime
def init(): pass
def run(data): return seen
"""
TELEMETRY = {"ORT_DISABLE_TELEMETRY", "CI"}
"""onnxruntime sends nothing where either is set; these tests must not rely on the second."""


@pytest.mark.slow
def test_loading_a_model_turns_telemetry_off_first(tmp_path: Path) -> None:
    kind = onnx.TensorProto.FLOAT
    x, y = (onnx.helper.make_tensor_value_info(name, kind, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "m.onnx")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path / "m.onnx"],
        env={k: v for k, v in os.environ.items() if k not in TELEMETRY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"


@pytest.mark.slow
def test_a_script_that_imports_onnxruntime_finds_its_telemetry_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TELEMETRY:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "score.py").write_text(SCRIPT)
    port = free_port()
    server = Server(["azmlinfsrv", "--entry_script", "score.py", "--port", str(port)], cwd=tmp_path)
    try:
        server.wait_until_ready(port)
        assert request(f"http://127.0.0.1:{port}/score", b"{}") == (200, b'"1"')
    finally:
        assert server.stop() == 0


def test_each_import_of_onnxruntime_follows_the_switch() -> None:
    """Few modules of ours import it, and set the variable above the import."""
    importers = []
    for package in ("registry", "scoring", "runtime", "edge", "fpga"):
        for path in (ROOT / package).rglob("*.py"):
            found = re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.M)
            if found:
                importers.append(path)
                before = path.read_text()[: found.start()]
                assert "ORT_DISABLE_TELEMETRY" in before, path
    compiler = {f"fpga/compiler/{name}.py" for name in ("preparation", "quantisation", "accuracy")}
    known = {"scoring/onnx_engine.py"} | compiler
    assert {path.relative_to(ROOT).as_posix() for path in importers} <= known
