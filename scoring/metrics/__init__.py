"""What a scoring server counts: ledgers in each process, one page for all of them.

ledger = Ledger()                                   # one in each process; plain Python, hot path
ledger.answered("/score", 200, 0.0012)
published = ledger.snapshot()                       # bytes, for shared memory
past = merge([past, published])                     # when that process is dead
page = exposition.render([past, *live], triton_names=False, accept="")

families.py     the names: kinds, labels, buckets, how each merges
snapshot.py     the bytes that travel between processes, and adding them up
ledger.py       the counting itself
exposition.py   the Prometheus and OpenMetrics text; the only file that names prometheus_client
triton.py       the same numbers under the nv_inference_* names
statistics.py   the same numbers as the Open Inference Protocol's statistics document
"""

from __future__ import annotations

from scoring.metrics.exposition import render
from scoring.metrics.ledger import Ledger
from scoring.metrics.snapshot import combine, merge
from scoring.metrics.statistics import statistics

__all__ = ["Ledger", "combine", "merge", "render", "statistics"]
