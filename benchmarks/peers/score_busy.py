# mypy: ignore-errors
"""A score.py that takes as long as it is told, asleep or computing, and gives the token back.

{"sleep_ms": 10, "burn_ms": 0, "token": 7} -> {"token": 7}
"""

import json
import time


def init():
    """Nothing to load."""


def run(raw_data):
    """Keeps its worker for the time asked."""
    asked = json.loads(raw_data)
    time.sleep(asked.get("sleep_ms", 0) / 1000)
    end_s = time.perf_counter() + asked.get("burn_ms", 0) / 1000
    while time.perf_counter() < end_s:
        pass
    return {"token": asked.get("token")}
