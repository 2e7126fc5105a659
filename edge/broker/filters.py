"""Names of topics, and filters with + and #. Pure."""

from __future__ import annotations

MAX_LEVELS = 32


def is_topic(text: str) -> bool:
    """Whether a message can be published there."""
    return bool(text) and "+" not in text and "#" not in text and text.count("/") < MAX_LEVELS


def is_filter(text: str) -> bool:
    """Whether it can be subscribed to."""
    levels = text.split("/")
    if not text or len(levels) > MAX_LEVELS or ("#" in text and text.find("#") != len(text) - 1):
        return False
    return all(level in ("+", "#") or not ("+" in level or "#" in level) for level in levels)


def matches(filter: str, topic: str) -> bool:
    """``a/#`` matches ``a`` too; a wildcard in front matches no topic that begins with $."""
    if filter == topic:
        return True
    if topic.startswith("$") and filter[0] in "+#":
        return False
    wanted, levels = filter.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place == len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)
