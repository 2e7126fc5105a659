"""An engine whose module fails."""

FAILS = 1 / 0
