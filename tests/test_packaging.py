"""What a user installs: the wheel's packages, its command, and what its extras leave out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

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
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
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
    pip = [tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-deps"]
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


@pytest.mark.slow
def test_onnxruntime_never_loads_with_its_telemetry_on() -> None:
    code = (
        "import os, sys, scoring.onnx_engine; "
        "assert 'onnxruntime' in sys.modules; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_each_import_of_onnxruntime_follows_the_switch() -> None:
    """Only one module of ours imports it, and sets the variable above the import."""
    importers = []
    for package in ("registry", "scoring", "runtime", "edge", "fpga"):
        for path in (ROOT / package).rglob("*.py"):
            found = re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.M)
            if found:
                importers.append(path)
                before = path.read_text()[: found.start()]
                assert "ORT_DISABLE_TELEMETRY" in before, path
    assert len(importers) <= 1, importers
