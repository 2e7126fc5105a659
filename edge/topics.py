"""The MQTT topics; the only place that makes and parses them. All payloads: edge/messages/.

edge/<device>/status               device -> hub   retained  Status: birth; the will is its end
edge/<device>/up/reported          device -> hub   retained  Reported: what runs
edge/<device>/up/telemetry         device -> hub             Batch: records of the outbox
edge/<device>/up/reply             device -> hub             Reply: the end of a command
edge/<device>/down/desired         hub -> device   retained  Desired: what shall run
edge/<device>/down/ack             hub -> device             Ack: what the hub has made durable
edge/<device>/down/command         hub -> device             Command, with an expiry

A device's name is a whole level, and the name in its certificate: the broker's ACL compares them.
"""

from __future__ import annotations

import re

from edge.errors import InvalidMessageError, InvalidSpecError

ROOT = "edge"
STATUS = "status"
REPORTED = "up/reported"
TELEMETRY = "up/telemetry"
REPLY = "up/reply"
DESIRED = "down/desired"
ACK = "down/ack"
COMMAND = "down/command"
UPWARD = (STATUS, REPORTED, TELEMETRY, REPLY)
DOWNWARD = (DESIRED, ACK, COMMAND)
_DEVICE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


def check_device(name: str) -> str:
    """The name of a device. Raises InvalidSpecError."""
    if not _DEVICE.fullmatch(name) or ".." in name:
        raise InvalidSpecError(
            f"{ascii(name)[:70]} cannot name a device; use 1 to 63 of a-z, 0-9, '.', '_', '-',"
            " beginning and ending with a letter or digit"
        )
    return name


def topic(device: str, kind: str) -> str:
    """``kind``: one of the constants above."""
    return f"{ROOT}/{device}/{kind}"


def parse(text: str) -> tuple[str, str]:
    """(device, kind) of a topic. Raises InvalidMessageError for what is none of ours."""
    root, _, rest = text.partition("/")
    device, _, kind = rest.partition("/")
    if root != ROOT or kind not in UPWARD + DOWNWARD or not _DEVICE.fullmatch(device):
        raise InvalidMessageError(f"{ascii(text)[:80]} is no topic of ours")
    return device, kind


def upward_filters() -> list[str]:
    """What a hub subscribes to: everything that devices say."""
    return [f"{ROOT}/+/{kind}" for kind in UPWARD]


def downward_filters(device: str) -> list[str]:
    """What a device subscribes to: everything that is said to it."""
    return [topic(device, kind) for kind in DOWNWARD]
