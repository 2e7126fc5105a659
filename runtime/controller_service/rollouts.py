"""How rollouts ended, by deployment: counted from the ledger, which outlives controllers.

rollouts = Rollouts(workspace.deployments)
rollouts.counted()["web"]        # {"finished": 3, "taken_back": 1}
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from registry.deployments import Deployments

OUTCOMES = {"rollout finished": "finished", "rollout taken back": "taken_back"}
PAGE = 1000


class Rollouts:
    """Reads on where it stopped: entries are never changed."""

    def __init__(self, deployments: Deployments) -> None:
        self._deployments = deployments
        self._guard = threading.Lock()
        self._last = 0
        self._counts: dict[str, dict[str, int]] = {}

    def __repr__(self) -> str:
        return f"Rollouts(up to entry {self._last})"

    def counted(self) -> Mapping[str, Mapping[str, int]]:
        """Of all deployments that there ever were. Raises RegistryError."""
        with self._guard:
            while page := self._deployments.ledger(after=self._last, limit=PAGE):
                for entry in page:
                    outcome = OUTCOMES.get(entry.event)
                    if outcome is not None:
                        found = self._counts.setdefault(entry.deployment, {})
                        found[outcome] = found.get(outcome, 0) + 1
                self._last = page[-1].id
            return {name: dict(counts) for name, counts in self._counts.items()}
