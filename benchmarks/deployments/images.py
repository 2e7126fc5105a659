"""The images that are deployed, and the requests that they answer.

*digits*, twice: an ONNX model of some microseconds, so that what is seen is the deployment's doing.
*teller*: a score.py that does what its environment says, such as failing now and then; its answer
has the number of its revision, which is how a client knows who answered.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.deployments.stand import Stand
from benchmarks.deployments.traffic import Asked
from benchmarks.subjects import digits
from benchmarks.wire import Request

ROWS = 20
ASKED = 1000
JSON = {"Content-Type": "application/json"}
TELLER = """
import json
import os
import random
import signal
import time

TOLD = {name.lower(): value for name, value in os.environ.items()}
SEEN = 0


def number(name):
    return float(TOLD.get(name, "0"))


def init():
    time.sleep(number("start_s"))


def run(raw_data):
    global SEEN
    SEEN += 1
    if number("last_request") and SEEN >= number("last_request"):
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    if random.random() < number("worker_ends_share"):
        os._exit(1)
    time.sleep(number("sleep_ms") / 1000)
    if random.random() < number("fail_share"):
        raise ValueError("this one fails")
    asked = json.loads(raw_data)
    answer = {"answer": asked["number"] + 1 + number("wrong_by")}
    return answer if asked.get("is_golden") else {**answer, "revision": int(number("revision"))}
"""


def make_digits(found: Stand) -> list[Asked]:
    """``digits:1`` and ``digits:2``, the same model twice; requests with their labels."""
    subject = digits(found.scratch)
    for _ in range(2):
        found.workspace.models.register(subject.model, name="digits")
        found.workspace.images.create("digits", models=["digits"], proof=False)
    asked = []
    for row in range(ROWS):
        label = int(subject.expected[row].argmax())
        request = Request("/score", subject.json_body(row), JSON)
        asked.append(Asked(request.bytes(), b'"label": ?\\[%d\\]' % label))
    return asked


def make_teller(found: Stand, *, has_golden: bool = False) -> list[Asked]:
    """``teller:1``; of its golden inputs the answer is known."""
    folder = found.scratch / "teller"
    folder.mkdir()
    (folder / "score.py").write_text(TELLER)
    subject = digits(found.scratch)  # an image has a model; this script does not use it
    found.workspace.models.register(subject.model, name="unused")
    golden: Path | None = None
    if has_golden:
        golden = folder / "golden.json"
        known = {"number": 41, "is_golden": True}
        cases = [{"input": known, "output": {"answer": 42}}]
        golden.write_text(json.dumps({"v": 1, "cases": cases}))
    found.workspace.images.create(
        "teller", models=["unused"], script=folder / "score.py", proof=False, golden=golden
    )
    asked = []
    for number in range(ASKED):  # of one that ends its process again and again the server is wary
        request = Request("/score", json.dumps({"number": number}).encode(), JSON)
        asked.append(Asked(request.bytes(), rb'"answer": ?%d(\.0)?[,}]' % (number + 1)))
    return asked
