"""A page as a whole document: with the navigation, for whom it is."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.portal.answers import Page
from runtime.portal.ask import Ask
from runtime.portal.paths import url
from runtime.portal.template import NOTES, render


@dataclass(frozen=True, slots=True)
class Entry:
    """Of the navigation."""

    title: str
    address: str
    is_here: bool


SECTIONS = (
    ("Overview", "overview"),
    ("Experiments", "experiments"),
    ("Pipelines", "pipelines"),
    ("Compute", "compute"),
    ("Models", "models"),
    ("Images", "images"),
    ("Deployments", "deployments"),
    ("Activities", "activities"),
)
OF_OWNERS = (("Audit log", "audit"), ("Tokens", "tokens"))


def whole(page: Page, ask: Ask, seal: str) -> str:
    """Its text."""
    note = ask.query.get("note", [""])[0]
    return render(
        page.template,
        {
            **page.values,
            "title": page.title,
            "trail": page.trail,
            "commands": page.commands,
            "navigation": _navigation(page, ask),
            "workspace": ask.workspace_name,
            "workspaces": ask.site.names if len(ask.site.names) > 1 and ask.who else (),
            "who": ask.who,
            "is_signed_in": bool(ask.session.grants),
            "may": ask.may,
            "csrf": seal,
            "note": NOTES.get(note, ""),
            "here": ask.address,
        },
        ask.site.hidden,
    )


def _navigation(page: Page, ask: Ask) -> list[Entry]:
    if not ask.workspace_name or not ask.may("reader"):
        return []
    sections = SECTIONS + (OF_OWNERS if ask.may("owner") else ())
    return [
        Entry(title, url(name, workspace=ask.workspace_name), name == page.section)
        for title, name in sections
    ]
