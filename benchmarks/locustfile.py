"""The load test of a digits model's server, as a user runs it: three kinds of client, steps and a
spike.

    inferry serve model.onnx --port 8000
    locust -f benchmarks/locustfile.py --host http://127.0.0.1:8000                  # with its page
    locust -f benchmarks/locustfile.py --host http://127.0.0.1:8000 --headless --html report.html
    locust ... JsonUser RawUser            # some kinds of client only

--step-s sets the seconds of each step, --step-users what each adds, --spike-users the spike's.
Every answer is checked; 429 with Retry-After counts as refused, not as failed.
"""

from __future__ import annotations

import json
import random
import struct
from argparse import Namespace
from typing import Any, ClassVar

from locust import FastHttpUser, LoadTestShape, constant, events, task
from locust.argument_parser import LocustArgumentParser

PIXELS = 64
DARKEST = 16
DIGITS = range(10)
OCTETS = "application/octet-stream"
STEPS = 3


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    parser.add_argument("--step-s", type=float, default=10.0, help="seconds of each step")
    parser.add_argument("--step-users", type=int, default=8, help="users that each step adds")
    parser.add_argument("--spike-users", type=int, default=64, help="users of the spike")
    parser.add_argument("--model", default="model", help="name of the model under /v2/models/")


class StepsAndSpike(LoadTestShape):
    """Three steps up, a spike, and back to the first step."""

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start in a second; None ends the test."""
        options = _options(self.runner)
        users = [options.step_users * (step + 1) for step in range(STEPS)]
        users += [options.spike_users, options.step_users]
        run_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        now = int(run_s / options.step_s)
        return (users[now], float(max(users))) if now < len(users) else None


class DigitsUser(FastHttpUser):
    """Sends one digit, checks the answer, sends the next."""

    abstract = True
    wait_time = constant(0)
    rows: ClassVar[list[list[int]]] = [
        [random.Random(seed).randrange(DARKEST + 1) for _ in range(PIXELS)] for seed in range(50)
    ]

    def score(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """One request; an answer without a digit as its label is a failure."""
        sent: Any = body  # locust's annotation knows text only
        with self.client.post(
            path, data=sent, headers=headers, name=type(self).__name__, catch_response=True
        ) as answer:
            if answer.status_code == 429 and answer.headers.get("Retry-After"):
                answer.success()
            elif answer.status_code != 200:
                answer.failure(f"status {answer.status_code}")
            elif _label(answer.content or b"") not in DIGITS:
                answer.failure("an answer without a label")


class JsonUser(DigitsUser):
    """``{"data": [[...]]}``."""

    weight = 2

    @task
    def score_json(self) -> None:
        """POST /score."""
        body = json.dumps({"data": [random.choice(self.rows)]}).encode()
        self.score("/score", body, {"Content-Type": "application/json"})


class RawUser(DigitsUser):
    """The tensor's bytes."""

    @task
    def score_raw(self) -> None:
        """POST /score."""
        self.score("/score", _floats(random.choice(self.rows)), {"Content-Type": OCTETS})


class V2User(DigitsUser):
    """The Open Inference Protocol with a binary tensor."""

    @task
    def infer(self) -> None:
        """POST /v2/models/NAME/infer."""
        raw = _floats(random.choice(self.rows))
        size = {"binary_data_size": len(raw)}
        pixels = {"name": "pixels", "shape": [1, PIXELS], "datatype": "FP32", "parameters": size}
        head = json.dumps({"inputs": [pixels]}).encode()
        headers = {"Content-Type": OCTETS, "Inference-Header-Content-Length": str(len(head))}
        model = _options(self.environment).model
        self.score(f"/v2/models/{model}/infer", head + raw, headers)


def _floats(row: list[int]) -> bytes:
    return struct.pack(f"<{PIXELS}f", *row)


def _label(body: bytes) -> int | None:
    """The predicted digit, of /score or of /v2."""
    answer = json.loads(body)
    if "outputs" in answer:
        [label] = [output for output in answer["outputs"] if output["name"] == "label"]
        return int(label["data"][0])
    return int(answer["label"][0])


def _options(holder: Any) -> Namespace:
    environment = getattr(holder, "environment", holder)
    options: Namespace = environment.parsed_options
    return options
