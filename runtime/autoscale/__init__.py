"""How many replicas a deployment should have. Everything here is pure: clock and numbers are handed
in, and what should happen is handed back.

    history = observe(declared, history, sample, now_s)
    decision = decide(declared, history, wanted=wanted, now_s=now_s)

The shell around it asks each replica for GET /metrics (``load_of`` reads the page), calls these
two each second or so, and starts and stops replicas. activation.py wakes a deployment that sleeps.
"""

from __future__ import annotations

from runtime.autoscale.decision import Cause, Decision, decide
from runtime.autoscale.declared import Declared
from runtime.autoscale.history import History, observe
from runtime.autoscale.metrics_page import load_of
from runtime.autoscale.sample import Load, Replica, Sample

__all__ = [
    "Cause",
    "Decision",
    "Declared",
    "History",
    "Load",
    "Replica",
    "Sample",
    "decide",
    "load_of",
    "observe",
]
