"""What a search for logged models asks of the database: pure."""

from __future__ import annotations

from collections.abc import Sequence

from registry.tracking.record_search import Pairs, Records

LOGGED = Records(
    noun="logged models",
    columns="m.key",
    source="logged_models m JOIN runs r ON r.key = m.run",
    where="m.is_deleted = 0 AND r.is_deleted = 0",
    number="m.key",
    newest="SELECT ifnull(max(key), 0) FROM logged_models",
    order="m.key DESC",
    attributes={
        "name": ("m.name", "text"),
        "model_id": ("m.id", "text"),
        "model_type": ("m.type", "text"),
        "status": ("upper(m.status)", "text"),
        "source_run_id": ("r.id", "text"),
        "experiment_id": ("CAST(r.experiment AS TEXT)", "text"),
        "creation_timestamp": ("m.created_ms", "number"),
        "creation_time": ("m.created_ms", "number"),
        "last_updated_timestamp": ("m.updated_ms", "number"),
    },
    pairs={
        "tag": Pairs("logged_model_tags", "t.model = m.key"),
        "param": Pairs("logged_model_params", "t.model = m.key"),
        "metric": Pairs("logged_model_metrics", "t.model = m.key"),
    },
)
"""Those that are not hidden, the newest first."""


def in_experiments(experiments: Sequence[int]) -> str:
    """A condition."""
    return f"r.experiment IN ({', '.join(f'{id:d}' for id in experiments)})"
