"""Which process has which connection, and which connections should move. Pure: no sockets here.

    table = ConnectionTable(capacity=4096)
    slot = table.open(owner=least_loaded(table.counts([1, 2])))
    table.give(slot, owner=2); table.close(slot)
    surplus({1: 20, 2: 4})      # {1: 8}: what the crowded should give back

A *slot* is a connection's number as long as it is open. An *owner* is a child's number, or None
while a connection waits in the parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class TableFullError(Exception):
    """No slot is free."""


class ConnectionTable:
    """Slots and their owners. A wrong move raises KeyError and changes nothing."""

    def __init__(self, capacity: int) -> None:
        self._free = list(range(capacity - 1, -1, -1))
        self._owner: dict[int, int | None] = {}
        self._slots: dict[int | None, set[int]] = {None: set()}

    def __len__(self) -> int:
        return len(self._owner)

    def __repr__(self) -> str:
        counts = {owner: len(slots) for owner, slots in self._slots.items() if slots}
        return f"<ConnectionTable {counts}, {len(self._free)} free>"

    @property
    def is_full(self) -> bool:
        """No slot is free."""
        return not self._free

    def add_owner(self, owner: int) -> None:
        """A child exists."""
        self._slots[owner] = set()

    def drop_owner(self, owner: int) -> frozenset[int]:
        """A child exists no more; its connections have no owner now and are returned."""
        slots = self._slots.pop(owner)
        for slot in slots:
            self._owner[slot] = None
        self._slots[None] |= slots
        return frozenset(slots)

    def open(self, owner: int | None) -> int:
        """A new connection's slot. The slot used last comes first: its memory is warm."""
        if not self._free:
            raise TableFullError
        slots = self._slots[owner]
        slot = self._free.pop()
        self._owner[slot] = owner
        slots.add(slot)
        return slot

    def give(self, slot: int, owner: int | None) -> None:
        """The connection changes hands."""
        slots = self._slots[owner]
        self._slots[self._owner[slot]].discard(slot)
        self._owner[slot] = owner
        slots.add(slot)

    def close(self, slot: int) -> None:
        """The connection ended; its slot is free."""
        self._slots[self._owner.pop(slot)].discard(slot)
        self._free.append(slot)

    def owner(self, slot: int) -> int | None:
        """Who has it; None also for a slot that is not open."""
        return self._owner.get(slot)

    def waiting(self) -> tuple[int, ...]:
        """The connections that nobody has."""
        return tuple(self._slots[None])

    def counts(self, owners: Iterable[int]) -> dict[int, int]:
        """How many connections each of these has."""
        return {owner: len(self._slots[owner]) for owner in owners}

    def count(self, owner: int) -> int:
        """How many connections it has."""
        return len(self._slots[owner])


def least_loaded(counts: Mapping[int, int]) -> int | None:
    """The owner with the fewest connections; None when there is no owner."""
    return min(counts, key=lambda owner: counts[owner], default=None)


def surplus(counts: Mapping[int, int], *, at_most: int = 1 << 30) -> dict[int, int]:
    """How many each crowded owner should give back so that counts differ by one at most.

    Moves as few as possible; ``at_most`` bounds what one owner gives back at a time."""
    if not counts:
        return {}
    share, rest = divmod(sum(counts.values()), len(counts))
    crowded = sorted(counts, key=lambda owner: counts[owner], reverse=True)
    wanted = {owner: share + (index < rest) for index, owner in enumerate(crowded)}
    return {
        owner: min(count - wanted[owner], at_most)
        for owner, count in counts.items()
        if count > wanted[owner]
    }
