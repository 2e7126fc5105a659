"""``from azureml.core.run import Run``."""

from runtime.tracking.azure import Run, _OfflineRun

__all__ = ["Run", "_OfflineRun"]
