"""From ``docker run`` to the first 200 on /score."""

from __future__ import annotations

import contextlib
import http.client
import statistics
import subprocess
import time

from benchmarks.images import registries
from benchmarks.images.study import PLAIN, SCRIPTED, Study
from benchmarks.images.workspaces import NotMeasuredError, output_of, require
from benchmarks.models import at_most
from benchmarks.outcome import Outcome
from benchmarks.servers import POLL_S, free_port

REPEATS = 5
TIMEOUT_S = 60.0


def starting(study: Study) -> Outcome:
    """The digits model, and its script with one worker; the image is in the engine already."""
    outcome = Outcome("images")
    for name, words in ((PLAIN, []), (SCRIPTED, ["--workers", "1"])):
        with registries.ours(study.workspace) as port:
            ref = f"127.0.0.1:{port}/{name}:1"
            output_of([require("docker"), "pull", "--quiet", ref])
        try:
            times_s = [_first_answer_s(ref, words, study) for _ in range(REPEATS)]
        finally:
            subprocess.run(["docker", "image", "rm", "--force", ref], capture_output=True)
        what = f"docker run to the first 200 on /score: {name}{' '.join(['', *words])}"
        outcome.findings.append(at_most(what, 1.5, statistics.median(times_s), "s"))
        outcome.notes.append(f"{what}: {min(times_s):.2f} to {max(times_s):.2f} s.")
    return outcome


def _first_answer_s(ref: str, words: list[str], study: Study) -> float:
    port = free_port()
    command = ["docker", "run", "--detach", "--read-only", "-p", f"127.0.0.1:{port}:5001", ref]
    body = study.digits.json_body(0)
    began_s = time.perf_counter()
    container = output_of([*command, *words]).strip()
    try:
        while not _is_scored(port, body):
            if time.perf_counter() - began_s > TIMEOUT_S:
                said = subprocess.run(["docker", "logs", container], capture_output=True, text=True)
                raise NotMeasuredError(f"{ref} does not score: {said.stdout}{said.stderr}"[-800:])
            time.sleep(POLL_S)
        return time.perf_counter() - began_s
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True)


def _is_scored(port: int, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/score", body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200
        return False
    finally:
        connection.close()
