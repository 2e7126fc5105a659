"""The tracker as a training script sees it.

from runtime.tracking import Run

with Run("digits") as run:
    run.log("loss", 0.25)
"""

from runtime.tracking.run import Run

__all__ = ["Run"]
