"""The servers that are compared: how each is started, and where and how it takes which body.

Every one gets two processes (or workers) and one onnxruntime thread each. A peer that is not
installed is left out, and ``missing`` says how to install it.
"""

from __future__ import annotations

import base64
import functools
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.outcome import ROOT
from benchmarks.subjects import Subject, compact
from benchmarks.wire import Request

BIN = Path(sys.executable).parent
PEERS = ROOT / "benchmarks/peers"
OCTETS = "application/octet-stream"
JSON = "application/json"
BASELINE = "FastAPI (baseline)"
TYPED = "FastAPI, answer typed"
INFERRY = "inferry"
AZURE = "Azure ML server"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server: its name, its command for a port, and its request for row i by form.

    ``forms``: "json" and "raw" (the tensor's bytes); a form that it cannot take is absent.
    """

    name: str
    command: Callable[[int], list[str]]
    forms: dict[str, Callable[[Subject, int], Request]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def json_to(path: str) -> Callable[[Subject, int], Request]:
    """The form ``{"data": rows}`` for a path."""
    return lambda subject, row: Request(path, subject.json_body(row), {"Content-Type": JSON})


def raw_to(path: str) -> Callable[[Subject, int], Request]:
    """The tensor's bytes for a path."""
    return lambda subject, row: Request(path, subject.raw_body(row), {"Content-Type": OCTETS})


def ours(what: Path, *options: str, name: str = INFERRY) -> Contestant:
    """``inferry serve`` with two processes unless the options say another number."""
    asked = [*options] if "--processes" in options else ["--processes", "2", *options]

    def command(port: int) -> list[str]:
        return [str(BIN / "inferry"), "serve", str(what), "--port", str(port), *_known(asked)]

    forms = {"json": json_to("/score"), "raw": raw_to("/score"), "v2": _v2_to(what.stem)}
    return Contestant(name, command, forms)


def our_script(script: str, workers: int = 2) -> Contestant:
    """Our ``azmlinfsrv`` with a script of benchmarks/peers."""
    return _azmlinfsrv(f"inferry, {script}", BIN / "azmlinfsrv", script, workers, {})


def azure(script: str, scratch: Path, subject: Subject | None = None) -> Contestant:
    """The reference server with a script of benchmarks/peers."""
    environment = {"PYTHONPATH": str(_lend_engine(scratch))}
    if subject is not None:
        environment |= _model(subject)
    command = ROOT / ".venv-azure/bin/azmlinfsrv"
    found = _azmlinfsrv(AZURE, command, script, 2, environment)
    if script == "score_raw.py":
        found.forms["raw"] = raw_to("/score")
    return found


def baseline(subject: Subject, is_typed: bool = False) -> Contestant:
    """FastAPI and uvicorn[standard], two workers, onnxruntime inline. Typed: the route says what it
    answers, and FastAPI writes JSON faster."""

    def command(port: int) -> list[str]:
        uvicorn = ["-m", "uvicorn", "fastapi_server:app", "--app-dir", str(PEERS), "--workers", "2"]
        quiet = ["--no-access-log", "--log-level", "warning"]
        return [_python("fastapi"), *uvicorn, "--port", str(port), *quiet]

    if is_typed:
        return Contestant(TYPED, command, {"json": json_to("/typed")}, _model(subject))
    forms = {"json": json_to("/score"), "raw": raw_to("/raw")}
    return Contestant(BASELINE, command, forms, _model(subject))


def peers(subject: Subject, scratch: Path) -> list[Contestant]:
    """All others that are installed."""
    script = "score_model.py" if subject.name == "digits" else "score_raw.py"
    found = [azure(script, scratch, subject)] if _is_installed("azure") else []
    makers = {"litserve": _litserve, "bentoml": _bentoml, "mlserver": _mlserver}
    return found + [make(subject) for name, make in makers.items() if _is_installed(name)]


def missing() -> list[str]:
    """What is not installed, as the commands that install it."""
    names = ("fastapi", "litserve", "bentoml", "mlserver")
    commands = [f"scripts/peers {name}" for name in names if not _is_installed(name)]
    return commands + ([] if _is_installed("azure") else ["scripts/azure-reference"])


def _litserve(subject: Subject) -> Contestant:
    def command(port: int) -> list[str]:
        return [_python("litserve"), str(PEERS / "litserve_server.py"), str(port)]

    def form(subject: Subject, row: int) -> Request:
        body = compact({"tensor": base64.b64encode(subject.raw_body(row)).decode()})
        return Request("/score", body, {"Content-Type": JSON})

    return Contestant(
        "LitServe", command, {"json": json_to("/score"), "raw": form}, _model(subject)
    )


def _bentoml(subject: Subject) -> Contestant:
    def command(port: int) -> list[str]:
        serve = ["-m", "bentoml", "serve", "bentoml_service:Scorer", "--working-dir", str(PEERS)]
        return [_python("bentoml"), *serve, "--host", "127.0.0.1", "--port", str(port)]

    forms = {"json": json_to("/score"), "raw": raw_to("/raw")}
    return Contestant("BentoML", command, forms, _model(subject) | {"BENTOML_DO_NOT_TRACK": "True"})


def _mlserver(subject: Subject) -> Contestant:
    def command(port: int) -> list[str]:
        ports = [f"MLSERVER_{kind}_PORT={port + i}" for i, kind in enumerate(("HTTP", "GRPC"))]
        return [
            "env",
            *ports,
            str(Path(_python("mlserver")).with_name("mlserver")),
            "start",
            f"{PEERS}/mlserver",
        ]

    def form(subject: Subject, row: int) -> Request:
        shape, data = [1, *subject.shape], subject.values(row)
        tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
        body = compact({"inputs": [tensor]})
        return Request("/v2/models/model/infer", body, {"Content-Type": JSON})

    paths = {"PYTHONPATH": f"{PEERS}:{PEERS / 'mlserver'}"}
    return Contestant("MLServer", command, {"json": form}, _model(subject) | paths)


def _azmlinfsrv(
    name: str, path: Path, script: str, workers: int, environment: dict[str, str]
) -> Contestant:
    entry = ["--entry_script", str(PEERS / script), "--worker_count", str(workers)]

    def command(port: int) -> list[str]:
        return [str(path), *entry, "--port", str(port)]

    return Contestant(name, command, {"json": json_to("/score")}, dict(environment))


def _v2_to(model: str) -> Callable[[Subject, int], Request]:
    """The Open Inference Protocol with a binary tensor, answered in JSON."""

    def form(subject: Subject, row: int) -> Request:
        raw = subject.raw_body(row)
        tensor = {
            "name": subject.input,
            "shape": [1, *subject.shape],
            "datatype": "FP32",
            "parameters": {"binary_data_size": len(raw)},
        }
        head = compact({"inputs": [tensor]})
        length = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": OCTETS}
        return Request(f"/v2/models/{model}/infer", head + raw, length)

    return form


def _model(subject: Subject) -> dict[str, str]:
    shape = ",".join(str(size) for size in subject.shape)
    return {"BENCH_MODEL": str(subject.model), "BENCH_SHAPE": shape}


def _python(peer: str) -> str:
    return str(ROOT / f".venv-peers-{peer}/bin/python")


def _is_installed(peer: str) -> bool:
    if peer == "azure":
        return (ROOT / ".venv-azure/bin/azmlinfsrv").exists()
    return (ROOT / f".venv-peers-{peer}/inferry-peer").exists()


def _lend_engine(scratch: Path) -> Path:
    """The reference's environment has no onnxruntime: it borrows ours, so both run the same."""
    lent = scratch / "lent"
    lent.mkdir(exist_ok=True)
    packages = Path(sys.executable).parents[1] / "lib" / f"python{platform.python_version()[:4]}"
    for name in ("onnxruntime", "flatbuffers", "google"):
        if not (lent / name).exists():
            (lent / name).symlink_to((packages / "site-packages" / name).resolve())
    return lent


@functools.cache
def _options() -> str:
    done = subprocess.run([BIN / "inferry", "serve", "--help"], capture_output=True, text=True)
    return done.stdout


def lacks(option: str) -> bool:
    """Whether this version of ``inferry serve`` has no such option: then it is left out."""
    return option not in _options()


def _known(asked: list[str]) -> list[str]:
    """The pairs of option and value that this version of ``inferry serve`` has."""
    pairs = zip(asked[::2], asked[1::2], strict=True)
    return [part for pair in pairs if not lacks(pair[0]) for part in pair]
