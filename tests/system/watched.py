"""What the tests of capture, traces and shadow share: a script's bundle, metrics, raw answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import onnx
from onnx import TensorProto, helper

from tests.system.hostile_server import GOOD, ROOT, Running, read_all, serve_model

WAIT_S = 60.0
INFER = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
).encode()


def times_model(path: Path, factor: float, *, width: int = 4, output: str = "y") -> Path:
    """``y = factor * x`` for float32 [N,width]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", width])
    by = helper.make_tensor("by", TensorProto.FLOAT, [], [factor])
    node = helper.make_node("Mul", ["x", "by"], [output])
    graph = helper.make_graph([node], "g", [x], [y], [by])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def script_bundle(folder: Path, script: str) -> Path:
    """A bundle folder with nothing but a score.py."""
    (folder / "code").mkdir(parents=True)
    (folder / "code/score.py").write_text(script)
    about = {"schema_version": 1, "name": folder.name, "version": 1, "engine": "script"}
    (folder / "bundle.json").write_text(
        json.dumps({**about, "models": [], "entry_script": "score.py"})
    )
    return folder


@contextmanager
def serving(folder: Path, what: Path, *options: str | Path) -> Iterator[Running]:
    """``python -m scoring WHAT`` with these options."""
    with serve_model(folder, *map(str, options), model=what) as running:
        yield running


def refusal(folder: Path, what: Path, *options: str | Path, **environment: str) -> str:
    """What a server that does not start says."""
    done = subprocess.run(
        [sys.executable, "-m", "scoring", str(what), "--port", "0", *map(str, options)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Listening" not in done.stderr
    return done.stderr


def counter(running: Running, name: str, **labels: str) -> float:
    """A counter's value on /metrics, added up over what ``labels`` do not say."""
    text = httpx.get(f"{running.url}/metrics", trust_env=False).text
    total = 0.0
    for line, value in re.findall(rf"^{name}(?:\{{(.*?)\}})? (\S+)$", text, re.M):
        found = dict(re.findall(r'(\w+)="([^"]*)"', line))
        if labels.items() <= found.items():
            total += float(value)
    return total


def wait_until(is_so: Callable[[], bool]) -> None:
    """Counts of other processes are a quarter of a second old."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it never is"
        time.sleep(0.02)


def is_ready(running: Running) -> bool:
    """Whether a process of it has loaded what it serves."""
    return httpx.get(f"{running.url}/readyz", timeout=30, trust_env=False).status_code == 200


def replies(running: Running, model: str) -> list[bytes]:
    """Whole answers to requests of every kind, without what differs each time."""
    infer = f"POST /v2/models/{model}/infer"
    rows = b",".join([b"[1,2,3,4]"] * 120_000)
    asked = [
        ("POST /score", "application/json", GOOD),
        (infer, "application/json", INFER),
        ("POST /score", "application/octet-stream", bytes(32)),
        ("POST /score", "application/json", b'{"data": [[1, 2]]}'),
        ("POST /score", "application/json", b"{"),
        ("POST /score", "application/json", b'{"data": [%b]}' % rows),  # parsed on a thread
        ("GET /score", "text/plain", b""),
    ]
    return [_reply(running, line, kind, body) for line, kind, body in asked]


def _reply(running: Running, line: str, kind: str, body: bytes) -> bytes:
    head = (
        f"{line} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nx-request-id: r-1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with running.connect() as connection:
        connection.sendall(head.encode() + body)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return re.sub(rb"\r\ndate: [^\r]*", b"", answer)
