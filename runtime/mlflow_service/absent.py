"""What of MLflow is not part of Inferry, and how that is said: pure.

A client shows the line that the service answers, so the line names what was asked for.
"""

from __future__ import annotations

from runtime.mlflow_service.refusals import RefusedError

IS_PROMPT = "mlflow.prompt.is_prompt"
"""The tag of a registered model, and of a version, that is no model but a prompt."""
_ABSENT = {
    "traces": "traces and their assessments are",
    "unified-traces": "traces and their assessments are",
    "get-online-trace-details": "traces and their assessments are",
    "datasets": "evaluation datasets are",
    "scorers": "scorers are",
    "issues": "issues of traces are",
    "label-schemas": "label schemas are",
    "review-queues": "review queues are",
    "prompt-optimization": "optimisation of prompts is",
    "gateway": "the gateway is",
    "webhooks": "MLflow's webhooks are",
    "workspaces": "MLflow's list of workspaces is",
    "registered-models/rename": "a new name for a model is",
    "experiments/search-datasets": "a list of all datasets is",
    "presigned": "presigned addresses of artifacts are",
    "mpu": "uploads in parts are",
}
"""By what a path begins with below its root."""
_ADVICE = {
    "webhooks": "activities of Inferry have webhooks, see inferry activity hook",
    "workspaces": "a tracking URI that ends in /mlflow/NAME is the workspace NAME",
    "registered-models/rename": "register its versions under the new name",
    "experiments/search-datasets": "runs are found by dataset.name, digest or context",
    "mpu": "an artifact is sent in one request",
}
SUBJECTS = tuple(_ABSENT)


def absent(method: str, path: str) -> RefusedError:
    """The refusal of a route that is not in the table."""
    subject = _subject(path)
    what = _ABSENT.get(subject)
    if what is None:
        shown = ascii(f"{method} {path}")[1:-1][:120]
        said = f"the route {shown} of MLflow is not part of Inferry"
    else:
        said = f"{what} not part of Inferry"
    advice = _ADVICE.get(subject, "see its guide to MLflow's client")
    return RefusedError(404, "ENDPOINT_NOT_FOUND", f"{said}; {advice}")


def no_prompts() -> RefusedError:
    """The refusal of a prompt, which MLflow's client sends as a registered model."""
    said = "prompts are not part of Inferry; keep them as artifacts of a run"
    return RefusedError(404, "ENDPOINT_NOT_FOUND", said)


def _subject(path: str) -> str:
    """``/api/3.0/mlflow/traces/search``: ``traces``. "" where none is known."""
    parts = path.split("/")
    if len(parts) < 5 or parts[3] not in ("mlflow", "mlflow-artifacts"):
        return ""
    return next((found for found in ("/".join(parts[4:6]), parts[4]) if found in _ABSENT), "")
