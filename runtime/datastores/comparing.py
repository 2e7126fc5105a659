"""Whether what should be written is there already. Pure.

Sizes first; then digests, where both sides know one of the same kind; then times, where the store
has nothing better. ``unknown`` means that bytes have to be read to tell.

    s3    SHA-256 that we kept with the object, or the MD5 that its ETag is: never unknown, unless
          another program put the object there in parts
    sftp  size and time to the second: unknown where the times differ
    file  always unknown: the bytes of both are read
"""

from __future__ import annotations

from typing import Literal

from runtime.datastores.port import Item

Verdict = Literal["same", "other", "unknown"]
YOUNG_S = 2.0


def compare(source: Item, target: Item, *, has_times: bool) -> Verdict:
    """``has_times``: times of this pair say something."""
    if source.size_bytes != target.size_bytes:
        return "other"
    if source.size_bytes < 0:
        return "other"  # links
    by_digest = compare_digests(source.digest, target.digest)
    if by_digest != "unknown":
        return by_digest
    if has_times and source.modified_s is not None and target.modified_s is not None:
        return "same" if int(source.modified_s) == int(target.modified_s) else "unknown"
    return "unknown"


def compare_digests(one: str | None, other: str | None) -> Verdict:
    """``algorithm:hex`` each."""
    if one is None or other is None or algorithm(one) != algorithm(other):
        return "unknown"
    return "same" if one == other else "other"


def algorithm(digest: str) -> str:
    """``sha256`` of ``sha256:<hex>``."""
    return digest.partition(":")[0]


def kept_time(modified_s: float | None, now_s: float) -> float | None:
    """The time to write a copy with. A file that changed a moment ago may change again within the
    same second, and keep its size: its copy gets the second before, so that the two are compared by
    their bytes the next time."""
    if modified_s is None:
        return None
    return modified_s - 1 if abs(now_s - modified_s) < YOUNG_S else modified_s
