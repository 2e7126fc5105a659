"""``from azureml.core.experiment import Experiment``."""

from runtime.tracking.azure import Experiment

__all__ = ["Experiment"]
