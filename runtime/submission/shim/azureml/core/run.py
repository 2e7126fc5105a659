"""``from azureml.core.run import Run``."""

from runtime.tracking import Run

__all__ = ["Run"]
