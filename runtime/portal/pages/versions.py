"""One version of a model: its files, what it takes and gives, its tags, and who uses it."""

from __future__ import annotations

import shlex

from registry.errors import InvalidNameError, NotFoundError
from runtime.portal.answers import Answer, Commands, File, Go, Page
from runtime.portal.ask import Ask
from runtime.portal.links import linked
from runtime.portal.paths import url
from runtime.portal.place import Place

FILES = 500


def version(ask: Ask) -> Answer:
    """All of it."""
    name, number = _named(ask)
    found = ask.workspace.model_names.version(name, number)
    lines = ask.workspace.lineage.of_model(found.model.reference)
    reference = found.model.reference
    return Page(
        "version.html",
        reference,
        {
            "found": found,
            "model": found.model,
            "files": found.model.files[:FILES],
            "files_left": max(0, len(found.model.files) - FILES),
            "came_from": linked(ask, lines.came_from),
            "used_by": linked(ask, lines.used_by),
        },
        section="models",
        trail=(
            ("Models", url("models", workspace=ask.workspace_name)),
            (name, url("model", workspace=ask.workspace_name, name=name)),
        ),
        commands=Commands(
            f"inferry model show {shlex.quote(reference)}",
            f"Workspace.open(folder).models.get({reference!r})",
        ),
    )


def file(ask: Ask) -> Answer:
    """One file, to be kept."""
    name, number = _named(ask)
    found, chunks = ask.workspace.models.chunks(f"{name}:{number}", ask.arguments["path"])
    return File(found.path.rpartition("/")[2], found.size_bytes, chunks)


def tag(ask: Ask) -> Answer:
    """Set one tag, or remove one."""
    name, number = _named(ask)
    remove, key = ask.form.get("remove", ()), ask.text("key", limit=500).strip()
    if not key and not remove:
        raise InvalidNameError("a tag needs a name")
    ask.workspace.models.tag(
        f"{name}:{number}", set={key: ask.text("value")} if key else {}, remove=list(remove)
    )
    return _back(ask, "tagged")


def describe(ask: Ask) -> Answer:
    """Replace the description."""
    name, number = _named(ask)
    text = " ".join(ask.text("description").split())
    ask.workspace.models.describe(f"{name}:{number}", text)
    return _back(ask, "described")


def alias(ask: Ask) -> Answer:
    """From now on a name such as "champion" means this version, or nothing any more."""
    name, number = _named(ask)
    for each in ask.form.get("remove", ()):
        ask.workspace.aliases.remove(name, each, who=ask.actor)
    if given := ask.text("alias", limit=300).strip():
        ask.workspace.aliases.set(name, given, number, who=ask.actor)
    return _back(ask, "alias")


def _named(ask: Ask) -> tuple[str, int]:
    name, text = ask.arguments["name"], ask.arguments["version"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFoundError("there is no such version of the model")
    return name, int(text)


def _back(ask: Ask, note: str) -> Go:
    return Go(url("version", workspace=ask.workspace_name, **ask.arguments), note)


PLACES = (
    Place("GET", "version", "reader", version),
    Place("GET", "version.file", "reader", file),
    Place("POST", "version.tag", "contributor", tag),
    Place("POST", "version.describe", "contributor", describe),
    Place("POST", "version.alias", "contributor", alias),
)
