"""How much may be in the mirror's hands. Pure.

room = Room(most_bytes=1 << 26, most_copies=512)
if room.begins():                # one copy more
    room.grows(1000)             # False: that is too much; then end it
    room.ends(1000)              # with all that it had
"""

from __future__ import annotations


class Room:
    """Of one process."""

    def __init__(self, most_bytes: int, most_copies: int) -> None:
        self.most_bytes, self.most_copies = most_bytes, most_copies
        self.bytes = self.copies = 0

    def __repr__(self) -> str:
        return f"Room({self.copies} copies, {self.bytes} bytes)"

    def begins(self) -> bool:
        """One copy more, if there is room; it must end."""
        if self.copies >= self.most_copies:
            return False
        self.copies += 1
        return True

    def grows(self, size: int) -> bool:
        """By so many bytes, if there is room."""
        if self.bytes + size > self.most_bytes:
            return False
        self.bytes += size
        return True

    def ends(self, size: int) -> None:
        """A copy that had so many bytes."""
        self.copies -= 1
        self.bytes -= size
