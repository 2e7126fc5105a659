"""The Azure ML score.py contract (research/serving.md, section 2): runs inside the worker only."""
