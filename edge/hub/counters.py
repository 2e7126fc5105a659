"""What the hub has done since its start, by number."""

from __future__ import annotations

import threading
from collections import Counter

Key = tuple[str, str]


class Counters:
    """``name`` is a metric's without its prefix; ``label`` says of what kind ("" for none)."""

    def __init__(self) -> None:
        self._values: Counter[Key] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, label: str = "", amount: float = 1) -> None:
        """Count."""
        with self._lock:
            self._values[name, label] += amount  # type: ignore[assignment]  # seconds too

    def get(self, name: str, label: str = "") -> float:
        """The number; 0 for what never happened."""
        with self._lock:
            return self._values[name, label]

    def all(self) -> dict[Key, float]:
        """Everything counted."""
        with self._lock:
            return dict(self._values)
