"""A real worker process behind a socket pair, as a fixture."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scoring.azure.worker_process import Start, Worker


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker with a script of this text; ends it after the test."""
    with ExitStack() as stack:

        def start(script: str, **environ: str) -> Worker:
            (tmp_path / "score.py").write_text(textwrap.dedent(script))
            ours, theirs = socket.socketpair()
            ours.settimeout(20)
            variables = {"AML_APP_ROOT": str(tmp_path), "AZUREML_ENTRY_SCRIPT": "score.py"}
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "scoring.worker", "--fd", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=os.environ | variables | environ,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            stack.enter_context(process)
            stack.callback(process.kill)
            stack.enter_context(ours)
            return Worker(process, ours)

        yield start
