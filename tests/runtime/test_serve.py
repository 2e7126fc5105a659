"""``inferry serve`` and ``inferry score`` with a real server process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from runtime.cli.serve import serve
from runtime.cli.server_options import ServerOption
from tests.runtime.server import ROOT, Server, inferry, request

SCRIPT = """
import os
def init():
    global where
    where = os.environ["AZUREML_MODEL_DIR"]
def run(data):
    return {"said": data, "files": os.listdir(where)}
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a workspace that has the image ``i`` of the model ``m``."""
    (tmp_path / "weights.bin").write_bytes(b"\x00" * 100)
    (tmp_path / "score.py").write_text(SCRIPT)
    for command in (
        ["init"],
        ["model", "register", "weights.bin", "--name", "m"],
        ["image", "create", "i", "--model", "m", "--script", "score.py"],
    ):
        done = inferry(*command, cwd=tmp_path)
        assert done.code == 0, done.stderr
    return tmp_path


def served(folder: Path) -> list[Path]:
    return list((folder / ".inferry/serving").iterdir())


def test_an_image_is_served_and_leaves_nothing_behind(folder: Path) -> None:
    server = Server(["inferry", "serve", "i", "--port", "0"], cwd=folder)
    try:
        url = f"http://127.0.0.1:{server.wait_until_listening()}"
        assert len(served(folder)) == 1
        done = inferry("score", url, "--data", "-", cwd=folder, stdin="hello")
        assert (done.code, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {"said": "hello", "files": ["weights.bin"]}
        refused = inferry("score", f"{url}/nowhere", "--data", "score.py", cwd=folder)
        assert (refused.code, refused.stdout) == (1, "")
        assert refused.stderr.startswith("inferry: HTTP 404")
    finally:
        assert server.stop() == 0
    assert served(folder) == []


def test_what_a_killed_server_left_the_next_one_removes_but_not_what_is_served(
    folder: Path,
) -> None:
    first = Server(["inferry", "serve", "i", "--port", "0"], cwd=folder)
    second = Server(["inferry", "serve", "image:i:1", "--port", "0"], cwd=folder)
    third = None
    try:
        first.wait_until_listening()
        second.wait_until_listening()
        assert len(served(folder)) == 2
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(60)
        assert len(served(folder)) == 2
        third = Server(["inferry", "serve", "i", "--port", "0"], cwd=folder)
        third.wait_until_listening()
        assert len(served(folder)) == 2
    finally:
        first.stop()
        assert second.stop() == 0
        if third is not None:
            assert third.stop() == 0
    assert served(folder) == []


def test_a_name_of_a_model_and_an_image_is_refused(folder: Path) -> None:
    inferry("image", "create", "m", "--model", "m", "--script", "score.py", cwd=folder)
    done = inferry("serve", "m", cwd=folder)
    assert done.code == 1
    assert "model:m or image:m" in done.stderr


def test_a_script_that_fails_to_load_ends_the_server_with_1(folder: Path) -> None:
    (folder / "bad.py").write_text("def init():\n    1 / 0\n\ndef run(data):\n    return data\n")
    inferry("image", "create", "bad", "--model", "m", "--script", "bad.py", cwd=folder)
    done = inferry("serve", "bad", "--port", "0", cwd=folder)
    assert done.code == 1
    assert "init" in done.stderr
    assert served(folder) == []


def test_a_port_that_is_taken_is_one_clear_line(folder: Path) -> None:
    server = Server(["inferry", "serve", "i", "--port", "0"], cwd=folder)
    try:
        port = server.wait_until_listening()
        done = inferry("serve", "i", "--port", str(port), cwd=folder)
        assert done.code == 1
        assert f"127.0.0.1:{port}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    finally:
        assert server.stop() == 0


def test_sighup_takes_over_the_version_that_is_the_latest_by_then(tmp_path: Path) -> None:
    model(tmp_path / "m.onnx", "first")
    for command in (["init"], ["model", "register", "m.onnx", "--name", "m"]):
        assert inferry(*command, cwd=tmp_path).code == 0
    server = Server(["inferry", "serve", "m", "--port", "0", "--processes", "1"], cwd=tmp_path)
    try:
        url = f"http://127.0.0.1:{server.wait_until_listening()}"
        assert metadata(url) == (["1"], ["first"])
        model(tmp_path / "m.onnx", "second")
        assert inferry("model", "register", "m.onnx", "--name", "m", cwd=tmp_path).code == 0
        assert metadata(url) == (["1"], ["first"])
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: metadata(url) == (["2"], ["second"]))
        assert len(served(tmp_path)) == 2  # an old one may serve on where a new one does not load
        inferry("model", "delete", "m:2", cwd=tmp_path)
        inferry("model", "delete", "m:1", cwd=tmp_path)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload failed, the old generation goes on: there is no" in server.log)
        assert metadata(url) == (["2"], ["second"])
    finally:
        assert server.stop() == 0
    assert served(tmp_path) == []


def test_sighup_looks_at_a_path_again_and_a_version_that_was_named_stays(tmp_path: Path) -> None:
    model(tmp_path / "m.onnx", "first")
    for command in (["init"], ["model", "register", "m.onnx", "--name", "m"]):
        assert inferry(*command, cwd=tmp_path).code == 0
    by_path = Server(["inferry", "serve", "./m.onnx", "--port", "0"], cwd=tmp_path)
    by_name = Server(["inferry", "serve", "m:1", "--port", "0"], cwd=tmp_path)
    try:
        path_url = f"http://127.0.0.1:{by_path.wait_until_listening()}"
        name_url = f"http://127.0.0.1:{by_name.wait_until_listening()}"
        model(tmp_path / "m.onnx", "second")
        assert inferry("model", "register", "m.onnx", "--name", "m", cwd=tmp_path).code == 0
        for server in (by_path, by_name):
            server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "generation 2 serves now" in by_path.log)
        wait_until(lambda: "generation 2 serves now" in by_name.log)
        wait_until(lambda: metadata(path_url) == (["1"], ["second"]))
        assert metadata(name_url) == (["1"], ["first"])
        assert len(served(tmp_path)) == 1
    finally:
        assert by_path.stop() == 0
        assert by_name.stop() == 0


def test_a_model_of_the_workspace_can_shadow_another(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model(tmp_path / f"{name}.onnx", "x")
    assert inferry("init", cwd=tmp_path).code == 0
    for name in ("a", "b"):
        assert inferry("model", "register", f"{name}.onnx", "--name", name, cwd=tmp_path).code == 0
    command = ["inferry", "serve", "a", "--port", "0", "--shadow", "b"]
    server = Server(
        [*command, "--capture", "captured.jsonl", "--deadline-ms", "5000"], cwd=tmp_path
    )
    try:
        url = f"http://127.0.0.1:{server.wait_until_listening()}"
        assert len(served(tmp_path)) == 2
        assert request(f"{url}/score", b'{"x": [[1.0]]}')[0] == 200
        equal = 'inferry_shadowed_total{model="a",verdict="equal",version="1"} 1.0'
        wait_until(lambda: equal in request(f"{url}/metrics")[1].decode())
    finally:
        assert server.stop() == 0
    assert json.loads((tmp_path / "captured.jsonl").read_text())["model"] == "a"
    assert served(tmp_path) == []


def test_the_command_has_all_options_of_the_server() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "scoring", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    theirs = set(re.findall(r"^  (--[a-z-]+)", help_text, re.M))
    ours = {option.opts[0] for option in serve.params if isinstance(option, ServerOption)}
    assert len(theirs) > 20
    assert ours == theirs


def model(path: Path, name: str) -> None:
    """A model that gives its input ``name`` back."""
    x = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
    graph = helper.make_graph([helper.make_node("Identity", [name], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def metadata(url: str) -> tuple[list[str], list[str]]:
    """The versions of the model m, and its inputs' names."""
    found = json.loads(request(f"{url}/v2/models/m")[1])
    return found["versions"], [spec["name"] for spec in found["inputs"]]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it never is"
        time.sleep(0.02)
