"""What was found of a deployment's shadows, for ``inferry deployment show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.cli.deployment_elsewhere import elsewhere
from runtime.cli.output import Json, Record

if TYPE_CHECKING:
    from registry import Workspace
    from registry.deployments import Deployment, Share
    from runtime.shadow.counts import Counts, Times


def shadow_records(item: Deployment, workspace: Workspace) -> list[Record]:
    """As JSON has them, one for each shadow. Where the counts cannot be read it has ``cause``."""
    shadows = [share for share in item.traffic if share.is_shadow]
    if not shadows:
        return []
    from runtime.deployments.publication import version_of
    from runtime.errors import InferryError

    try:
        counts = _counts(item.name, workspace)
    except InferryError as error:
        return [{**_share(share), "cause": str(error)} for share in shadows]
    return [_record(share, counts.get(version_of(share.revision))) for share in shadows]


def _counts(name: str, workspace: Workspace) -> dict[str, Counts]:
    """By version. Raises InferryError."""
    if (found := elsewhere(workspace)) is not None:
        return found.shadow_counts(name)
    from runtime.deployments.here import balancer_folder
    from runtime.shadow.reading import read_counts

    return read_counts(balancer_folder(workspace.root), name)


def shadow_lines(records: list[Record]) -> list[str]:
    """As people see them: the verdict first, then the last pairs of answers that differ."""
    lines: list[str] = []
    for record in records:
        lines.append(str(record["cause"] if record.get("cause") else record["verdict"]))
        dropped, differences = record.get("dropped"), record.get("differences")
        if isinstance(dropped, dict) and dropped:
            lines += [f"  dropped: {_reason(reason, count)}" for reason, count in dropped.items()]
        if record.get("last_failure"):
            lines.append(f"  last failure: {record['last_failure']}")
        for each in differences if isinstance(differences, list) else []:
            assert isinstance(each, dict)
            lines.append(f"  {each['at']}  {each['text']}  input {str(each['input_sha256'])[:12]}")
            lines += [f"  | primary {each['primary']}", f"  | shadow  {each['shadow']}"]
    return lines


def _share(share: Share) -> Record:
    return {"revision": share.revision, "percent": share.percent}


def _record(share: Share, counts: Counts | None) -> Record:
    import msgspec

    from runtime.shadow.counts import Counts, line

    found = counts or Counts(since="")
    differences: list[Json] = msgspec.to_builtins(found.differences)
    return {
        **_share(share),
        "verdict": line(f"revision {share.revision}", found),
        "since": found.since or None,
        "copies": found.copied,
        "equal": found.equal,
        "close": found.close,
        "different": found.different,
        "failed": found.failed,
        "dropped": dict(found.dropped),
        "largest_difference": found.largest,
        "primary": _times(found.primary),
        "shadow": _times(found.shadow),
        "p99_ratio": found.p99_ratio(),
        "last_failure": found.last_failure or None,
        "differences": differences,
    }


def _times(times: Times) -> Record:
    return {"p50_s": times.quantile_s(0.5), "p99_s": times.quantile_s(0.99)}


def _reason(reason: str, count: Json) -> str:
    from runtime.shadow.counts import REASONS

    return f"{count:,} as {REASONS.get(reason, reason)}"
