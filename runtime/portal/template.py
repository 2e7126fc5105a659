"""The templates, and the words that they have. Everything that is put into one is escaped, and
signs that would turn a line around or hide in it are shown as their numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from runtime.portal import words
from runtime.portal.paths import url

HERE = Path(__file__).parent
STATIC = {
    "portal.css": "text/css; charset=utf-8",
    "portal.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
NOTES = {
    "tagged": "The tags are changed.",
    "formats": "What models may have is changed.",
    "described": "The description is changed.",
    "alias": "The aliases are changed.",
    "rerun": "It was submitted once more: this is how it goes.",
    "hook-deleted": "The webhook is told nothing more.",
    "resumed": "It was begun again: this is how it goes.",
    "cancelling": "It was asked to end; it does at its next point of cancel.",
    "deleted": "It is hidden now; nothing is lost.",
    "restored": "It is shown again.",
    "revoked": "The token opens nothing any more.",
    "rolled-back": "The earlier revision is the goal again.",
    "signed-out": "You are signed out.",
}


def _finalize(value: Any) -> Any:
    return words.shown(value) if type(value) is str else value


def exactly(text: str) -> Markup:
    """For values that a form sends back as they are."""
    return escape(text)


@cache
def environment() -> Environment:
    """With all templates."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        auto_reload=False,
        cache_size=200,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "when": words.when,
        "time": words.time_of,
        "size": words.size,
        "number": words.number,
        "lasted": words.lasted,
        "short": words.short,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        "exactly": exactly,
        "shown": words.shown,
    }
    made.globals |= {"url": url, "static": static_url, "NOTES": NOTES}
    return made


def render(template: str, values: Mapping[str, Any], hidden: Mapping[str, str]) -> str:
    """The text of one template; ``hidden``: what nobody is told, such as the workspace's folder,
    and what stands in its place (Site.hidden)."""
    text = environment().get_template(template).render(values)
    for secret, instead in hidden.items():
        text = text.replace(str(escape(secret)), instead)
    return text


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """The bytes of one of STATIC, and a mark that changes with them."""
    data = (HERE / "static" / name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:16]


def static_url(name: str) -> str:
    """An address that changes with the file, so that it may be kept for ever."""
    return f"/ui/static/{name}?{static_file(name)[1]}"
