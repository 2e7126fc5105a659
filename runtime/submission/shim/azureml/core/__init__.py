"""``from azureml.core import Run`` in a script that Azure Machine Learning has run: the same calls,
kept by Inferry. For a Python without Azure's own package."""

from runtime.tracking import Run

__all__ = ["Run"]
