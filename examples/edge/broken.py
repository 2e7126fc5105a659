"""A release that should never have been: whatever it is asked, its answer is no number."""


def init():
    """Nothing to load."""


def run(raw_data):
    """Not a number, for each request."""
    return {"predictions": [0], "confidence": [float("nan")]}
