"""Whether a new replica answers what its image knows the answers to."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import UNSET

from edge.errors import GateError
from edge.hosts.port import InstanceId, Observed
from edge.stock.port import Stock
from edge.switch.golden import (
    Golden,
    check_answer,
    check_expected,
    check_finite,
    made_from_signature,
    read_golden,
)
from edge.switch.scoring import body_of, score

ANSWER_S = 30.0
MOST_CASES = 20
"""A replica is tried in seconds; a device tries all."""
ALL_S = 60.0
"""For all of them: those that are left then are not tried."""


def sampler(stock: Stock) -> Callable[[int, str, str, int], str | None]:
    """``(revision, digest, address, port)`` to what is wrong with the answers; None: nothing."""

    def sample(revision: int, digest: str, address: str, port: int) -> str | None:
        seen = Observed(InstanceId(f"r{revision}", "live"), digest, "running", address, port)
        what, began_s = "golden input", time.monotonic()
        try:
            golden, is_made = _golden(stock, digest)
            for number, case in enumerate(golden.cases[:MOST_CASES] if golden else (), 1):
                if time.monotonic() - began_s > ALL_S:
                    break
                what = f"golden input {number}"
                document = check_answer(score(seen, body_of(case.input), ANSWER_S), what)
                if case.output is not UNSET and golden is not None:
                    check_expected(document, case.output, golden.tolerance, what)
                elif not is_made:
                    check_finite(document, what)
        except GateError as error:
            return str(error)
        except OSError as error:
            return f"{what}: {error}"
        return None

    return sample


def _golden(stock: Stock, digest: str) -> tuple[Golden | None, bool]:
    """The image's own, else zeros of what its model takes; whether they are those."""
    found = stock.golden(digest)
    if found is not None:
        return read_golden(found), False
    return made_from_signature((stock.bundle(digest) / "bundle.json").read_bytes()), True
