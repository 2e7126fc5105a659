"""A deployment as programs and people see it. Never its keys, and of secrets only the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.cli.output import Json, Record

if TYPE_CHECKING:
    from registry.deployments import Deployment, Replica, Revision, ServiceSettings, Share
    from runtime.hooks.running import HookNote

COLUMNS = ("name", "state", "image", "target", "replicas", "url")
UNSEEN = "no controller has seen it yet"


def record(item: Deployment) -> Record:
    """As JSON has it."""
    observed = item.observed
    state, cause = state_of(item)
    return {
        "name": item.name,
        "state": state,
        "cause": cause,
        "url": None if observed is None else observed.url,
        "target": item.target,
        "image": item.revision(item.goal).image,
        "goal": item.goal,
        "is_wanted": item.is_wanted,
        "created_at": item.created_at,
        "change": item.change,
        "seen_change": None if observed is None else observed.change,
        "seen_at": None if observed is None else observed.seen_at,
        "traffic": [
            {"revision": s.revision, "percent": s.percent, "is_shadow": s.is_shadow}
            for s in item.traffic
        ],
        "service": plain(item.service),
        "secrets": list(item.secrets),
        "revisions": [_revision(each) for each in item.revisions],
        "replicas": [plain(each) for each in replicas_of(item)],
        "hooks": [plain(each) for each in _hooks(item)],
    }


def overview(item: Deployment, kind: str = "local") -> Record:
    """In a line of a table. ``kind``: of its target."""
    ready = sum(each.state == "ready" for each in replicas_of(item))
    return {**record(item), "replicas": f"{ready}/{_wanted(item, kind)}"}


def _wanted(item: Deployment, kind: str) -> str:
    """Devices are as many as there are."""
    return str(len(replicas_of(item))) if kind == "edge" else span(item.service)


def for_people(item: Deployment, kind: str = "local") -> Record:
    """As ``show`` has it. ``kind``: of its target."""
    known = record(item)
    goal = item.revision(item.goal)
    found: dict[str, Json] = {
        key: known[key] for key in ("name", "state", "cause", "url", "target", "created_at")
    }
    if item.observed is not None:
        late = "" if item.observed.change >= item.change else ", before the latest change"
        found["seen_at"] = f"{item.observed.seen_at}{late}"
    wanted = "each device" if kind == "edge" else span(item.service)
    found["replicas"] = [f"{wanted} wanted", *_replica_lines(item)]
    found["traffic"] = [share_line(item, share) for share in item.traffic]
    found["revisions"] = [_revision_line(each, item.goal) for each in item.revisions]
    service = plain(item.service)
    if item.service.least_replicas == item.service.most_replicas:
        del service["autoscale"]  # it has nothing to say
    if not (item.service.hooks.has_before or item.service.hooks.has_after):
        del service["hooks"]
    else:
        found["hooks"] = [_hook_line(each) for each in _hooks(item)]
    found["service"] = _setting_lines(service)
    found[f"revision {goal.number}"] = _setting_lines(plain(goal.settings))
    if item.secrets:
        found["secrets"] = ", ".join(item.secrets)
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def state_of(item: Deployment) -> tuple[str, str | None]:
    """In a word, and why."""
    if item.observed is None:
        return ("unknown", UNSEEN) if item.is_wanted else ("stopping", UNSEEN)
    if not item.is_wanted and item.observed.state != "stopping":
        return "stopping", None
    return item.observed.state, item.observed.cause


def state_line(item: Deployment) -> str:
    """``updating: revision 2 has 20 % of the traffic``."""
    state, cause = state_of(item)
    return f"{state}: {cause}" if cause else state


def replicas_of(item: Deployment) -> tuple[Replica, ...]:
    """As they were seen."""
    return () if item.observed is None else item.observed.replicas


def span(service: ServiceSettings) -> str:
    """``3`` or ``1..5``."""
    least, most = service.least_replicas, service.most_replicas
    return str(least) if least == most else f"{least}..{most}"


def share_line(item: Deployment, share: Share) -> str:
    """``revision 2 (digits:2): 20 %``."""
    image = item.revision(share.revision).image
    shadow = ", a copy of it" if share.is_shadow else ""
    return f"revision {share.revision} ({image}): {share.percent:g} %{shadow}"


def plain(value: Any) -> dict[str, Json]:
    """A struct with all its fields, also those that are as always."""
    import msgspec

    return {
        name: plain(each) if isinstance(each, msgspec.Struct) else msgspec.to_builtins(each)
        for name, each in msgspec.structs.asdict(value).items()
    }


def _revision(item: Revision) -> Record:
    return {
        "number": item.number,
        "image": item.image,
        "digest": item.digest,
        "settings": plain(item.settings),
        "made_at": item.made_at,
        "made_by": item.made_by,
    }


def _revision_line(item: Revision, goal: int) -> str:
    mark = "  (the goal)" if item.number == goal else ""
    return f"{item.number}  {item.image}  {item.digest}  {item.made_at} by {item.made_by}{mark}"


def _hooks(item: Deployment) -> tuple[HookNote, ...]:
    """What came of each last."""
    if item.observed is None:
        return ()
    from runtime.deployments.memory import read_memory

    return read_memory(item.observed.memory).hooks


def _hook_line(note: HookNote) -> str:
    said = f": {note.said}" if note.said else ""
    return (
        f"{note.moment} {note.kind}  {note.result.replace('_', ' ')} in {note.took_s:g} s"
        f"  {note.at}{said}"
    )


def _replica_lines(item: Deployment) -> list[str]:
    lines = []
    for each in replicas_of(item):
        where = f"  {each.address}" if each.address else ""
        why = f": {each.cause}" if each.cause else ""
        lines.append(f"{each.id}  {each.state}{where}{why}")
        lines += [f"  | {line}" for line in each.log.splitlines()]
    return lines


def _setting_lines(settings: Record, prefix: str = "") -> list[str]:
    """Those that are said, a line each."""
    lines: list[str] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            lines += _setting_lines(value, f"{prefix}{name}.")
        elif value not in (None, (), []):
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            lines.append(f"{prefix}{name} = {shown}")
    return lines
