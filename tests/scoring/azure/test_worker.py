"""A real worker process behind a socket pair."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from scoring.script import frames
from tests.scoring.azure.worker_process import INIT, Start


@pytest.mark.slow
def test_a_closed_socket_ends_the_worker_with_0(start: Start) -> None:
    worker = start(INIT + "def run(data):\n    return data")
    assert worker.ready().mode == "json-string"
    worker.socket.close()
    assert worker.process.wait(45) == 0


@pytest.mark.slow
def test_a_reply_has_what_the_contract_says(start: Start) -> None:
    worker = start(INIT + "def run(data):\n    print('in run')\n    return {'got': data}")
    ready = worker.ready()
    assert ready.pid == worker.process.pid
    assert ready.swagger_versions == ["2", "3", "3.1"]
    assert set(ready.swagger) == {"2", "2.0", "3", "3.0", "3.1"}
    reply, body = worker.score(b"\xc5\xbe")
    assert isinstance(reply, frames.Reply)
    assert (reply.status, body) == (200, b'{"got": "\\u017e"}')
    assert reply.run_ms is not None
    assert reply.headers == [
        ("Content-Type", "application/json"),
        ("x-ms-run-function-failed", "False"),
        ("x-ms-run-fn-exec-ms", f"{reply.run_ms:.3f}"),
    ]
    worker.socket.close()
    log = worker.process.communicate(timeout=10)[0].decode()
    assert f"I [{ready.pid}] azmlinfsrv.print - in run" in log


@pytest.mark.slow
def test_large_bodies_pass_both_ways(start: Start) -> None:
    worker = start(INIT + "def run(data):\n    return data")
    worker.ready()
    _, body = worker.score(b"x" * 3_000_000)
    assert body == b'"' + b"x" * 3_000_000 + b'"'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "stage", "message"),
    [
        ("import not_there", "import", "the script raised ModuleNotFoundError: No module named"),
        ("def run(data):\n    pass", "check", "does not have a init() function defined."),
        (INIT + "def run(*data):\n    pass", "check", "run() cannot accept positional-only"),
        ("def init():\n    1 / 0\n\ndef run(data):\n    pass", "init", "ZeroDivisionError"),
        ("def init():\n    exit()\n\ndef run(data):\n    pass", "init", "init() raised SystemExit"),
    ],
)
def test_a_script_that_cannot_serve_is_reported(
    start: Start, script: str, stage: str, message: str
) -> None:
    worker = start(script)
    failed, _ = worker.channel.receive()
    assert isinstance(failed, frames.LoadFailed)
    assert failed.stage == stage
    assert message in failed.message
    assert "Traceback" not in failed.message
    log = worker.process.communicate(timeout=10)[0].decode()
    assert "Traceback" in log
    assert worker.process.returncode == 3


@pytest.mark.slow
def test_a_module_named_scoring_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "scoring.py").write_text("WHO = 'user'")
    failed, _ = start(INIT + "def run(data):\n    return data").channel.receive()
    assert isinstance(failed, frames.LoadFailed)
    assert failed.stage == "check"
    assert "Rename that module" in failed.message


@pytest.mark.slow
def test_a_timeout_and_an_exit_leave_the_worker_alive(start: Start) -> None:
    script = """
        import time

        def init():
            pass

        def run(data):
            if data == "sleep":
                time.sleep(30)
            raise SystemExit(7)
    """
    worker = start(script, SCORING_TIMEOUT_MS="50")
    worker.ready()
    reply, body = worker.score(b"sleep")
    assert isinstance(reply, frames.Reply)
    assert (reply.status, reply.failed, reply.run_ms) == (500, True, None)
    assert body == b'{"message": "Scoring timeout after 50 ms"}'
    reply, body = worker.score(b"exit")
    assert isinstance(reply, frames.Reply)
    assert reply.failed
    assert b"unexpected error occurred in scoring script" in body


@pytest.mark.slow
def test_a_stream_comes_in_chunks_and_says_when_it_broke(start: Start) -> None:
    script = """
        from azureml.contrib.services.aml_response import AMLResponse

        def init():
            pass

        def parts():
            yield "one"
            yield b"two"
            raise ValueError("three")

        def run(data):
            return AMLResponse(parts(), 200)
    """
    worker = start(script)
    worker.ready()
    head, _ = worker.score()
    assert isinstance(head, frames.StreamHead)
    assert head.run_ms is not None
    received = [worker.channel.receive() for _ in range(3)]
    assert received == [
        (frames.StreamChunk(), b"one"),
        (frames.StreamChunk(), b"two"),
        (frames.StreamEnd(broken=True), b""),
    ]
    assert isinstance(worker.score()[0], frames.StreamHead)


@pytest.mark.slow
def test_sigterm_and_sigint_are_the_servers_business(start: Start) -> None:
    worker = start(INIT + "def run(data):\n    return data")
    worker.ready()
    worker.process.send_signal(signal.SIGTERM)
    worker.process.send_signal(signal.SIGINT)
    assert worker.score(b"still here")[1] == b'"still here"'


@pytest.mark.slow
def test_a_worker_dies_with_its_server(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text(INIT + "def run(data):\n    return data")
    server = """
        import os, socket, subprocess, sys
        ours, theirs = socket.socketpair()
        os.set_inheritable(ours.fileno(), True)  # a leaked end: only the death signal can help
        fds = [ours.fileno(), theirs.fileno()]
        command = [sys.executable, "-P", "-m", "scoring.worker", "--fd", str(fds[1])]
        worker = subprocess.Popen(command, pass_fds=fds)
        ours.recv(1)
        print(worker.pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    environ = {"AML_APP_ROOT": str(tmp_path), "AZUREML_ENTRY_SCRIPT": "score.py"}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(server)],
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        timeout=30,
    )
    pid = int(ended.stdout.split()[-1])
    deadline = time.monotonic() + 45
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(pid)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.slow
def test_a_plain_script_loads_neither_werkzeug_nor_inference_schema(start: Start) -> None:
    script = """
        def init():
            pass

        def run(data):
            import sys
            unwanted = {"werkzeug", "inference_schema", "asyncio", "numpy"}
            return sorted(unwanted & set(sys.modules))
    """
    worker = start(script)
    worker.ready()
    assert worker.score(b"x")[1] == b"[]"
