"""The part ``edge``: what is lost, how fast, how large, and what comes back: each file one study.

python -m benchmarks.edge.chaos --messages 20000     # each prints its findings as JSON
"""
