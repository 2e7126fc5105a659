"""``inferry serve`` and ``inferry score`` with a real server process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.runtime.server import Server, inferry

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
        first.process.wait(10)
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
