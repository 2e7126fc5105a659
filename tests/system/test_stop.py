"""SIGTERM: who has connected before it is answered, in whatever state the connection is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.hostile_server import ROOT, doubling_model, read_all
from tests.system.http_requests import scoring_request


@pytest.mark.parametrize("later_s", [0.0, 0.1])
def test_who_waits_to_be_accepted_is_answered(tmp_path: Path, later_s: float) -> None:
    """The first connections of their process come together with the order to leave."""
    model = doubling_model(tmp_path / "model.onnx")
    with subprocess.Popen(
        [sys.executable, "-m", "scoring", str(model), "--port", "0", "--workers", "1"],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, b"")
            port = next(int(line.rsplit(b":", 1)[1]) for line in lines if b"Listening" in line)
            process.send_signal(signal.SIGSTOP)
            clients = [socket.create_connection(("127.0.0.1", port), timeout=45) for _ in range(4)]
            if not later_s:
                for client in clients:
                    client.sendall(scoring_request(1))
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            if later_s:
                time.sleep(later_s)
                for client in clients:
                    client.sendall(scoring_request(1))
            for client in clients:
                with client:
                    assert read_all(client).startswith(b"HTTP/1.1 200 ")
            assert process.wait(45) == 0
        finally:
            process.kill()
