"""What an image that serves the digits has to hold above its base: ours, MLflow's and BentoML's.

Nothing is built: each tool itself writes what its image installs (``mlflow models
generate-dockerfile``, which ``build-docker`` builds; ``bentoml build``, which ``containerize``
builds), and that is installed into a folder for Linux on x86-64 and Python 3.11, and weighed.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import BIN, PEERS
from benchmarks.images.workspaces import Command, NotMeasuredError, debian_base, output_of
from benchmarks.outcome import ROOT

PYTHON = "3.11"
PLATFORM = "x86_64-manylinux_2_28"
FLAVOURS = {"sklearn": "scikit-learn", "onnx": "onnxruntime"}


@dataclass(frozen=True, slots=True)
class Needs:
    """What an image installs: lines of requirements, and Debian packages."""

    name: str
    requirements: tuple[str, ...]
    system_packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weight:
    """Of the Python packages alone. ``with_bytecode_bytes``: as pip and uv leave them in those
    images; ours holds none. The last two are texts of apt, or a dash."""

    name: str
    distributions: int
    unpacked_bytes: int
    with_bytecode_bytes: int
    gzip_bytes: int
    system_download: str = "-"
    system_unpacked: str = "-"


def ours() -> Needs:
    """The server with onnxruntime."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    own = [line for line in project["dependencies"] if line.startswith("msgspec")]
    return Needs("inferry", (*own, *extras["scoring"], *extras["onnx"]))


def mlflow(flavour: str, model: Path, scratch: Path) -> Needs:
    """By MLflow's own code. Raises NotMeasuredError where it is not installed."""
    folder = _fresh(scratch / f"mlflow-{flavour}")
    saved, made = folder / "model", folder / "image"
    program, environment = _peer("mlflow")
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    output_of([program / "python", PEERS / "mlflow_model.py", flavour, model, saved], environment)
    command: Command = [
        program / "mlflow",
        "models",
        "generate-dockerfile",
        "-m",
        saved,
        "-d",
        made,
    ]
    output_of(command, environment)
    dockerfile = (made / "Dockerfile").read_text()
    server = re.findall(r"pip install (mlflow==\S+)", dockerfile)
    listed = _requirements(saved / "requirements.txt")
    return Needs(f"MLflow, {flavour}", (*server, *listed), system_packages(dockerfile))


def bentoml(flavour: str, scratch: Path) -> Needs:
    """By BentoML's own code. Raises NotMeasuredError where it is not installed."""
    folder = _fresh(scratch / f"bentoml-{flavour}")
    shutil.copy(PEERS / "bentoml_digits.py", folder / "service.py")
    (folder / "bentofile.yaml").write_text(
        "service: service:Digits\ninclude: ['*.py']\n"
        f"python: {{packages: [numpy, {FLAVOURS[flavour]}]}}\n"
    )
    program, environment = _peer("bentoml-image")
    environment |= {
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "FLAVOUR": flavour,
    }
    (folder / "home").mkdir()
    output_of([program / "bentoml", "build", "."], environment, folder)
    [made] = (folder / "home").glob("bentos/digits/*/env")
    dockerfile = (made / "docker/Dockerfile").read_text()
    installer = re.findall(r"'(uv==[\d.]+) ", dockerfile)
    listed = _requirements(made / "python/requirements.txt")
    return Needs(f"BentoML, {flavour}", (*listed, *installer), system_packages(dockerfile))


def system_packages(dockerfile: str) -> tuple[str, ...]:
    """What its ``apt-get install`` lines name."""
    lines = re.findall(r"apt-get install ([^&\\\n]+)", dockerfile)
    return tuple(word for line in lines for word in line.split() if not word.startswith("-"))


def weigh(needs: Needs, scratch: Path) -> Weight:
    """Installs it into a folder, which is gone afterwards. Raises NotMeasuredError."""
    folder = _fresh(scratch / "weighed")
    listed, target = folder / "requirements.txt", folder / "site"
    listed.write_text("\n".join(needs.requirements) + "\n")
    command: Command = [BIN / "uv", "pip", "install", "--quiet", "--target", target, "-r", listed]
    wanted = ["--python-version", PYTHON, "--python-platform", PLATFORM, "--only-binary", ":all:"]
    output_of([*command, *wanted, "--no-compile-bytecode"])
    plain, packed = _files_bytes(target), _gzip_bytes(target, folder / "packed.tar.gz")
    subprocess.run([sys.executable, "-m", "compileall", "-q", target], stdout=subprocess.DEVNULL)
    weight = Weight(
        needs.name,
        len(list(target.glob("*.dist-info"))),
        plain,
        _files_bytes(target),
        packed,
        *system_sizes(needs.system_packages, folder),
    )
    shutil.rmtree(folder)
    return weight


def system_sizes(packages: Sequence[str], folder: Path) -> tuple[str, str]:
    """What apt would download and unpack to add them to the Debian base of the tests."""
    if not packages:
        return "-", "-"
    status = folder / "status"
    with tarfile.open(debian_base()) as tar:
        file = tar.extractfile("./var/lib/dpkg/status")
        assert file is not None
        status.write_bytes(file.read())
    options = ["-o", f"Dir::State::status={status}", "-o", "Debug::NoLocking=1"]
    done = subprocess.run(
        ["apt-get", "install", *options, "--no-install-recommends", "--assume-no", *packages],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    download = re.search(r"Need to get (?:\S+ \S+/)?(\S+ [kM]?B) of archives", done.stdout)
    unpacked = re.search(r"After this operation, (\S+ [kM]?B) of additional", done.stdout)
    if download is None or unpacked is None:
        raise NotMeasuredError(f"apt-get: {done.stdout[-300:]}{done.stderr[-300:]}")
    return download[1], unpacked[1]


def _peer(name: str) -> tuple[Path, dict[str, str]]:
    program = ROOT / f".venv-peers-{name}/bin"
    if not (program / "python").exists():
        raise NotMeasuredError(f"no {name}: scripts/peers {name}")
    return program, {"PATH": f"{program}:{os.environ['PATH']}"}


def _requirements(path: Path) -> list[str]:
    """Its lines without options: which index is asked is the machine's business."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith(("-", "#"))]


def _files_bytes(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def _gzip_bytes(folder: Path, out: Path) -> int:
    """Of a tar with sorted names and no times, at the usual level 6."""
    with (
        out.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(folder)))
            entry.mtime = 0
            with path.open("rb") if entry.isreg() else open(os.devnull, "rb") as source:
                tar.addfile(entry, source if entry.isreg() else None)
    return out.stat().st_size


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
