"""How a rollout goes: sizes of batches, what stops it, and what then.

Sizes are how many devices have the new version once the batch is through, as a number or a part of
all: ("1", "10%", "100%") is one device, then on until a tenth of them has it, then all.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from edge.errors import InvalidSpecError

OnFailure = Literal["roll back", "stop", "pause"]
MAX_BATCHES = 100
_SIZE = re.compile(r"([0-9]{1,7})|([0-9]{1,3}(?:\.[0-9]{1,3})?)%")


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """``success_percent``: of a batch must succeed before the next begins. ``abort_percent``: when
    so many of all devices exposed so far have failed, and ``abort_minimum`` or more were exposed,
    it stops at once. ``timeout_s``: what a device has not done by then, it has failed; a device
    that is offline too, unless ``skip_offline``: then devices that are offline are passed over, and
    get the new version when the rollout is through. ``soak_s``: a pause between batches, in which
    late failures still count. ``at_once``: so many devices at most are on their way at a time, as
    a number or part of all; None: a whole batch. ``on_failure``: "roll back": every exposed device
    gets what it had; "stop": they keep the new version, the others the old one; "pause": somebody
    decides."""

    batches: tuple[str, ...] = ("1", "5%", "25%", "100%")
    success_percent: float = 98.0
    abort_percent: float = 5.0
    abort_minimum: int = 10
    timeout_s: float = 3600.0
    soak_s: float = 0.0
    at_once: str | None = None
    skip_offline: bool = False
    on_failure: OnFailure = "roll back"


def check(policy: Policy) -> Policy:
    """Raises InvalidSpecError for what no rollout can follow."""
    if not 1 <= len(policy.batches) <= MAX_BATCHES:
        raise InvalidSpecError(f"a rollout has 1 to {MAX_BATCHES} batches")
    for size in [*policy.batches, *([policy.at_once] if policy.at_once is not None else [])]:
        if count(size, 100) < 1:
            raise InvalidSpecError("a batch of no devices is none; begin with 1")
    for name in ("success_percent", "abort_percent"):
        if not 0.0 < getattr(policy, name) <= 100.0:
            raise InvalidSpecError(f"{name} is more than 0 and at most 100")
    if not 1.0 <= policy.timeout_s <= 366 * 86400.0:
        raise InvalidSpecError("the timeout of a rollout is a second to a year")
    if not 0.0 <= policy.soak_s <= 366 * 86400.0 or policy.abort_minimum < 1:
        raise InvalidSpecError("soak_s is 0 or more, abort_minimum 1 or more")
    return policy


def count(size: str, total: int) -> int:
    """How many of ``total`` devices "7" or "2.5%" are, rounded up. Raises InvalidSpecError."""
    match = _SIZE.fullmatch(size)
    if match is None:
        raise InvalidSpecError(f"{ascii(size)[:40]} is no size of a batch; write 7 or 2.5%")
    if match[1]:
        return min(int(match[1]), total)
    percent = float(match[2])
    if percent > 100.0:
        raise InvalidSpecError(f"{size} of all devices are more than there are")
    return math.ceil(round(total * percent / 100.0, 6))


def targets(policy: Policy, total: int) -> list[int]:
    """For each batch, how many devices have the new version once it is through. They never shrink,
    and the last is ``total``."""
    sizes: list[int] = []
    is_whole = policy.batches[-1] == "100%"
    for size in policy.batches if is_whole else (*policy.batches, "100%"):
        sizes.append(max([count(size, total), *sizes[-1:]]))
    return sizes


def at_once(policy: Policy, total: int) -> int:
    """How many devices may be on their way at a time: at least one."""
    return total if policy.at_once is None else max(1, count(policy.at_once, total))
