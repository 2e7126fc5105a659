"""What a search for names of models, and for versions, asks of the database: pure."""

from __future__ import annotations

from registry.model_origins import REGISTERED
from registry.tracking.record_search import Pairs, Records

MADE_MS = "ifnull(o.created_ms, CAST(strftime('%s', v.created_at) AS INTEGER) * 1000)"
_ORIGIN = "LEFT JOIN model_origins o ON o.name = v.name AND o.version = v.version"


def _made_ms(order: str) -> str:
    """When the first, or the last, version of the name ``m`` was made."""
    return (
        f"(SELECT {MADE_MS} FROM model_versions v {_ORIGIN} WHERE v.name = m.name"
        f" ORDER BY v.version {order} LIMIT 1)"
    )


NAMES = Records(
    noun="models",
    columns="m.name",
    source="models m LEFT JOIN model_names n ON n.name = m.name",
    where="(n.name IS NOT NULL OR EXISTS (SELECT 1 FROM model_versions v WHERE v.name = m.name))",
    number="+m.rowid",
    newest="SELECT ifnull(max(rowid), 0) FROM models",
    order="m.name",
    attributes={
        "name": ("m.name", "text"),
        "creation_timestamp": (f"ifnull(n.created_ms, {_made_ms('ASC')})", "number"),
        "last_updated_timestamp": (
            f"max(ifnull(n.updated_ms, {_made_ms('ASC')}), ifnull({_made_ms('DESC')}, 0))",
            "number",
        ),
    },
    pairs={"tag": Pairs("model_name_tags", "t.name = m.name")},
)
"""Names of models; one that nothing is left of but its next number is none."""

_UPDATED_MS = f"ifnull(o.updated_ms, {MADE_MS})"
VERSIONS = Records(
    noun="versions",
    columns="v.name, v.version",
    source=f"model_versions v {_ORIGIN}",
    where="1",
    number="+v.rowid",
    newest="SELECT ifnull(max(rowid), 0) FROM model_versions",
    order=f"{_UPDATED_MS} DESC, v.version DESC, v.name",
    attributes={
        "name": ("v.name", "text"),
        "version_number": ("v.version", "number"),
        "run_id": (
            "ifnull((SELECT r.id FROM model_runs x JOIN runs r ON r.key = x.run"
            " WHERE x.name = v.name AND x.version = v.version), '')",
            "text",
        ),
        "source_path": (
            f"ifnull(nullif(o.source, ''), '{REGISTERED}' || v.name || '/' || v.version)",
            "text",
        ),
        "creation_timestamp": (MADE_MS, "number"),
        "last_updated_timestamp": (_UPDATED_MS, "number"),
    },
    pairs={"tag": Pairs("model_tags", "t.name = v.name AND t.version = v.version")},
)
"""Versions of models, those that changed last first."""
