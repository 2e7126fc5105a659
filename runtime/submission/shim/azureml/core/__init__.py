"""``from azureml.core import Run`` in a script that Azure Machine Learning has run: the same calls,
kept by Inferry. For a Python without Azure's own package."""

from runtime.tracking.azure import Experiment, Run

__all__ = ["Experiment", "Run"]


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"of azureml.core Inferry has Run and Experiment, not {name}")
