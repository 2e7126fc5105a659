"""The ceiling: onnxruntime called in process, one row a run, on as many processes as cores.

python -m benchmarks.ceiling MODEL SHAPE      # one process: go by a line, stop by the next
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from benchmarks.outcome import ROOT
from benchmarks.subjects import Subject


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Runs per second of so many processes together."""

    processes: int
    rate: float


def measure(subject: Subject, processes: int, seconds: float) -> Ceiling:
    """Starts them, lets all load, then counts for ``seconds``."""
    shape = ",".join(str(size) for size in subject.shape)
    command = [sys.executable, "-m", "benchmarks.ceiling", str(subject.model), shape]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    for process in started:
        _say(process, None)
    for process in started:
        _say(process, "go")
    time.sleep(seconds)
    rates = [float(process.communicate("stop\n")[0]) for process in started]
    return Ceiling(processes, sum(rates))


def _say(process: subprocess.Popen[str], word: str | None) -> None:
    """Writes a line, or without a word waits for its first ("ready")."""
    assert process.stdin is not None
    assert process.stdout is not None
    if word is None:
        process.stdout.readline()
    else:
        process.stdin.write(word + "\n")
        process.stdin.flush()


def main(model: str, shape: str) -> None:
    """Prints ready; runs from the first line on standard input to the second; prints the rate."""
    import os

    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    name = session.get_inputs()[0].name
    row = np.random.default_rng(7).random((1, *map(int, shape.split(","))), dtype=np.float32)
    session.run(None, {name: row})
    print("ready", flush=True)
    sys.stdin.readline()
    stopped = threading.Event()

    def wait_for_stop() -> None:
        sys.stdin.readline()
        stopped.set()

    threading.Thread(target=wait_for_stop, daemon=True).start()
    began_s, runs = time.perf_counter(), 0
    while not stopped.is_set():
        session.run(None, {name: row})
        runs += 1
    print(runs / (time.perf_counter() - began_s), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
