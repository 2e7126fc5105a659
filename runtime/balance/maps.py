"""HAProxy's maps: what may change at any moment, without a reload, in one step each.

NAME.split    part of 10,000 -> lane: where a request goes
NAME.lanes    lane -> share: the same for requests that were held (holding.py)
NAME.keys     SHA-256 of a key -> which of the two it is; keys themselves are nowhere
NAME.copied   part of 10,000 -> the shadows that get a copy, such as v3,v4 (mirror.py)
NAME.shadows  a shadow -> its lane
"""

from __future__ import annotations

from runtime.balance.layout import Layout, Placed

PARTS = 10_000
FOLDER = "maps"


def split_file(service: str) -> str:
    """Its name for HAProxy, relative to the folder that it runs in."""
    return f"{FOLDER}/{service}.split"


def lanes_file(service: str) -> str:
    """As ``split_file``."""
    return f"{FOLDER}/{service}.lanes"


def keys_file(service: str) -> str:
    """As ``split_file``."""
    return f"{FOLDER}/{service}.keys"


def copied_file(service: str) -> str:
    """As ``split_file``."""
    return f"{FOLDER}/{service}.copied"


def shadows_file(service: str) -> str:
    """As ``split_file``."""
    return f"{FOLDER}/{service}.shadows"


def service_of(file: str) -> str:
    """Whose map it is."""
    return file.removeprefix(f"{FOLDER}/").rpartition(".")[0]


def is_keys_file(file: str) -> bool:
    """A ``keys_file`` of any service."""
    return file == keys_file(service_of(file))


Entries = tuple[tuple[str, str], ...]
"""Of one map, in order: key, value."""


def maps(layout: Layout) -> dict[str, Entries]:
    """All of them, by file name."""
    found: dict[str, Entries] = {}
    for placed in layout.services:
        name = placed.service.name
        found[split_file(name)] = _split(placed)
        found[lanes_file(name)] = tuple(
            (str(lane), str(share)) for lane, share in enumerate(_shares(placed)) if share
        )
        keys = placed.service.keys
        if keys is not None:
            # HAProxy writes hexadecimal digits in capitals.
            found[keys_file(name)] = (
                (keys.primary.upper(), "primary"),
                (keys.secondary.upper(), "secondary"),
            )
        if placed.service.has_shadow:
            found[copied_file(name)] = _copied(placed)
            found[shadows_file(name)] = tuple(
                (lane.version.name, str(at))
                for at, lane in enumerate(placed.lanes)
                if lane.version and lane.version.copies
            )
    return found


def map_text(entries: Entries) -> str:
    """A map's file."""
    return "".join(f"{key} {value}\n" for key, value in entries)


def _split(placed: Placed) -> Entries:
    """Lanes follow each other, so that a share that grows takes from its neighbour only, and who
    sticks to a version by a header's value seldom changes it."""
    entries, first = [], 0
    for lane, parts in enumerate(_parts(_shares(placed))):
        if parts:
            entries.append((_span(first, first + parts - 1), str(lane)))
            first += parts
    return tuple(entries)


def _copied(placed: Placed) -> Entries:
    """A shadow with fewer copies gets them of requests of which the others get one too: so few
    requests as can be take the longer way."""
    shadows = [version for version in placed.service.versions if version.copies]
    entries, first = [], 0
    for bound in sorted({version.copies for version in shadows}):
        names = ",".join(version.name for version in shadows if version.copies >= bound)
        entries.append((_span(first, bound - 1), names))
        first = bound
    return tuple(entries)


def _span(first: int, last: int) -> str:
    return f"{first}:{last}" if last > first else str(first)


def _shares(placed: Placed) -> list[int]:
    return [lane.version.share if lane.version else 0 for lane in placed.lanes]


def _parts(shares: list[int]) -> list[int]:
    """Of PARTS, in proportion, by largest remainder; what has a share has a part."""
    total = sum(shares)
    if not total:
        return [0] * len(shares)
    parts = [max(share * PARTS // total, 1 if share else 0) for share in shares]
    order = sorted(range(len(shares)), key=lambda at: -(shares[at] * PARTS % total))
    for at in order:
        if sum(parts) < PARTS and shares[at]:
            parts[at] += 1
    parts[max(range(len(parts)), key=parts.__getitem__)] -= sum(parts) - PARTS
    return parts
