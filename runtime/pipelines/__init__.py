"""Pipelines: steps that make one thing out of another, unattended, each on its own target.

    from runtime.pipelines import Pipeline, ScriptStep, RegisterStep, read_pipeline

    read_pipeline("pipeline.yaml", {"hidden": "32"}).run(workspace)

A run of a pipeline is a run of the tracker, each try of a step a child of it (records.py); so a
runner that is killed at any moment is resumed by another.
"""

from runtime.pipelines.errors import BadPipelineError, PipelineError, PipelineFailedError
from runtime.pipelines.event import Event
from runtime.pipelines.pipeline import Pipeline, read_pipeline
from runtime.pipelines.steps import DeployStep, ImageStep, RegisterStep, ScriptStep
from runtime.pipelines.view import PipelineView, StepView, pipeline_view
from runtime.submission.config import RunConfig

__all__ = [
    "BadPipelineError",
    "DeployStep",
    "Event",
    "ImageStep",
    "Pipeline",
    "PipelineError",
    "PipelineFailedError",
    "PipelineView",
    "RegisterStep",
    "RunConfig",
    "ScriptStep",
    "StepView",
    "pipeline_view",
    "read_pipeline",
]
