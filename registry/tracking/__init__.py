"""The thin tracker's records: experiments, their runs, and what those logged and wrote.

    with_life = workspace.tracking.runs.begin("digits", user="ada")
    workspace.tracking.metrics.chart(run.id, "loss", points=500)

``runtime.tracking.Run`` is what a training script uses.
"""

from registry.tracking.experiments import Experiments
from registry.tracking.files import Limits, RunFiles
from registry.tracking.lives import Life, LifeTakenError, Lives
from registry.tracking.metrics import Metrics
from registry.tracking.records import (
    ChartPoint,
    Experiment,
    Metric,
    MetricPoint,
    Point,
    RunFile,
    RunPage,
    RunRecord,
    RunValue,
    Status,
    Value,
    View,
)
from registry.tracking.runs import Runs
from registry.tracking.tracking import Tracking

__all__ = [
    "ChartPoint",
    "Experiment",
    "Experiments",
    "Life",
    "LifeTakenError",
    "Limits",
    "Lives",
    "Metric",
    "MetricPoint",
    "Metrics",
    "Point",
    "RunFile",
    "RunFiles",
    "RunPage",
    "RunRecord",
    "RunValue",
    "Runs",
    "Status",
    "Tracking",
    "Value",
    "View",
]
