"""The audit log, for owners."""

from __future__ import annotations

from urllib.parse import urlencode

from runtime.portal.answers import Answer, Commands, Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.place import Place

PAGE = 100


def audit(ask: Ask) -> Answer:
    """Who changed what, the newest first."""
    who = ask.text("who", limit=200).strip()
    before = ask.number("before", 0, 0, 10**15)
    log = ask.site.audit(ask.workspace_name)
    found = log.list(who=who or None, before=before or None, limit=PAGE + 1)
    later = ""
    if len(found) > PAGE:
        pairs = {"before": str(found[PAGE - 1].id), **({"who": who} if who else {})}
        later = f"{url('audit', workspace=ask.workspace_name)}?{urlencode(pairs)}"
    return Page(
        "audit.html",
        "Audit log",
        {"entries": found[:PAGE], "who_sought": who, "later": later, "is_first": not before},
        section="audit",
        commands=Commands("inferry audit list"),
    )


PLACES = (Place("GET", "audit", "owner", audit),)
