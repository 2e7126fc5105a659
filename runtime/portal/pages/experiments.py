"""Experiments, and the runs of one: filtered, ordered, page by page, with the columns asked for."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from registry.errors import InvalidNameError, NotFoundError
from registry.tracking import RunPage, RunRecord
from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place

PAGE = 50
LISTED = 100
COLUMNS = 30
BY_ITSELF = 3
"""So many columns of each kind are shown where nobody chose any."""
_TOKEN = re.compile(r"(\d{1,18})-(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Column:
    """``of`` is metrics or params; ``order`` how it is sorted by now: "ASC", "DESC" or ""."""

    of: str
    key: str
    address: str
    order: str = ""

    @property
    def aria_sort(self) -> str:
        """For readers that see no arrow."""
        return {"ASC": "ascending", "DESC": "descending"}.get(self.order, "none")


def experiments(ask: Ask) -> Answer:
    """All, the newest first."""
    start = ask.number("from", 0, 0, 10**9)
    found = ask.workspace.tracking.experiments.list(limit=LISTED + 1, offset=start)
    return Page(
        "experiments.html",
        "Experiments",
        {
            "experiments": found[:LISTED],
            "later": start + LISTED if len(found) > LISTED else None,
            "earlier": max(0, start - LISTED) if start else None,
        },
        section="experiments",
        commands=Commands(
            "inferry experiment list", "Workspace.open(folder).tracking.experiments.list()"
        ),
    )


def experiment(ask: Ask) -> Answer:
    """The runs of one."""
    tracking = ask.workspace.tracking
    if not ask.arguments["id"].isdigit() or len(ask.arguments["id"]) > 18:
        raise NotFoundError("there is no such experiment")
    found = tracking.experiments.get_by_id(int(ask.arguments["id"]))
    filter, order = ask.text("filter", limit=2000).strip(), ask.text("order", limit=600)
    token, complaint = ask.text("token", limit=50), ""
    view = "deleted" if ask.text("view") == "deleted" else "active"
    try:
        page = tracking.runs.search(
            experiments=[found.id],
            filter=filter,
            order_by=[order] if order else [],
            limit=PAGE,
            token=token or None,
            view="deleted" if view == "deleted" else "active",
        )
    except InvalidNameError as error:
        page, complaint = RunPage((), None), str(error)
    chosen = (ask.many("metric", COLUMNS), ask.many("param", COLUMNS))
    is_chosen = bool(chosen[0] or chosen[1] or ask.text("columns"))
    known = _known(page.runs)
    shown = chosen if is_chosen else (known[0][:BY_ITSELF], known[1][:BY_ITSELF])
    state = {"filter": filter, "order": order, "view": "" if view == "active" else view}
    given: dict[str, str | list[str]] = {key: value for key, value in state.items() if value}
    if is_chosen:
        given |= {"metric": chosen[0], "param": chosen[1], "columns": "1"}
    here = url("experiment", workspace=ask.workspace_name, id=found.id)
    return Page(
        "experiment.html",
        found.name,
        {
            "experiment": found,
            "runs": page.runs,
            "complaint": complaint,
            "filter": filter,
            "order": order,
            "view": view,
            "metrics": _columns("metrics", shown[0], order, here, given),
            "params": _columns("params", shown[1], order, here, given),
            "known_metrics": _offered(known[0], shown[0]),
            "known_params": _offered(known[1], shown[1]),
            "chosen_metrics": shown[0],
            "chosen_params": shown[1],
            "later": _address(here, given, page.next_token) if page.next_token else "",
            "earlier": _address(here, given, earlier(token, PAGE)) if token else "",
            "first": token and _address(here, given, ""),
            "other_view": _address(
                here, {**given, "view": "deleted" if view == "active" else ""}, ""
            ),
        },
        section="experiments",
        trail=(("Experiments", url("experiments", workspace=ask.workspace_name)),),
        commands=_commands(found.name, filter),
    )


def earlier(token: str, page: int) -> str:
    """The token of the page before that of ``token``."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return ""
    return f"{match[1]}-{max(0, int(match[2]) - page)}"


def _known(runs: Sequence[RunRecord]) -> tuple[list[str], list[str]]:
    """Keys of metrics and params on this page, those that most runs have first."""
    metrics = Counter(key for run in runs for key in run.metrics)
    params = Counter(key for run in runs for key in run.params)
    return [key for key, _ in metrics.most_common(200)], [key for key, _ in params.most_common(200)]


def _offered(known: Iterable[str], chosen: Iterable[str]) -> list[str]:
    return sorted({*known, *chosen})


def _columns(
    of: str, keys: Sequence[str], order: str, here: str, given: dict[str, str | list[str]]
) -> list[Column]:
    found = []
    for key in keys:
        if "`" in key:
            found.append(Column(of, key, ""))
            continue
        field = f"{of}.`{key}`"
        now = next((how for how in ("ASC", "DESC") if order == f"{field} {how}"), "")
        turned = "ASC" if now == "DESC" else "DESC"
        address = _address(here, {**given, "order": f"{field} {turned}"}, "")
        found.append(Column(of, key, address, now))
    return found


def _address(here: str, given: dict[str, str | list[str]], token: str | None) -> str:
    pairs = {key: value for key, value in given.items() if value}
    if token:
        pairs["token"] = token
    return f"{here}?{urlencode(pairs, doseq=True)}" if pairs else here


def _commands(name: str, filter: str) -> Commands:
    cli = f"inferry run list {shlex.quote(name)}"
    python = f"Run.search({name!r}"
    if filter:
        cli += f" --filter {shlex.quote(filter)}"
        python += f", filter={filter!r}"
    return Commands(cli, f"{python})")


PLACES = (
    Place("GET", "experiments", "reader", experiments),
    Place("GET", "experiment", "reader", experiment),
)
