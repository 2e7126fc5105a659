"""uv's explanations, shorter and as one line, without what is only ours or secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from registry.dependencies.conda import ESCAPE
from registry.platforms import Target

MAX_CHARS = 900
_NETWORK = re.compile(
    r"error sending request|failed to fetch|dns error|tcp connect error|connection (refused|reset)"
    r"|operation timed out|server error \(5\d\d|network is unreachable|could not connect",
    re.IGNORECASE,
)
_NO_WHEEL = re.compile(r"no usable wheels|no wheels|wheels? (are|is) required|only found wheels")
_NOT_FOUND = re.compile(r"was not found|there is no version|there are no versions|no wheels?\b")
_CONCLUSION = re.compile(r",? we can conclude that your requirements are unsatisfiable")
_HOST = re.compile(r"https?://(?:[^/\s@]*@)?([^/\s)]+)")


def is_network_failure(errors: str) -> bool:
    """Whether uv failed because an index did not answer."""
    return bool(_NETWORK.search(errors)) and "No solution found" not in errors


def no_network(first: str, offline: str) -> str:
    """What to say when neither an index nor the cache has the packages."""
    host = _HOST.search(first)
    missing = re.search(r"([A-Za-z0-9._-]+)(\S*) (needs? to be downloaded|was not found)", offline)
    what = f"{missing[1]} is not" if missing else "not all packages are"
    return (
        f"the package index{f' {host[1]}' if host else ''} cannot be reached, and {what} in uv's"
        " cache; try again with a network, or give a folder of wheels with --wheelhouse"
    )


def explain(errors: str, folder: str, target: Target, conda_names: Collection[str]) -> str:
    """The message for a resolution that failed."""
    text = errors.replace(f"{folder}/", "").replace(folder, "")
    text = re.sub(r"(?im)^\s*warning:.*$", "", text)
    body, *hints = re.split(r"\bhint:", text)
    reason = _one_line(body)
    reason = re.sub(r"^error: ", "", reason)
    reason = re.sub(r"^No solution found when resolving dependencies:?( cause:)? ?", "", reason)
    reason = re.sub(r"^Because ", "", _CONCLUSION.sub("", reason)).rstrip(". ")
    parts = [f"no set of packages for {target} fits: {reason}"]
    parts += [hint for hint in map(_one_line, hints) if "building from source" not in hint][:2]
    asked = [name for name in sorted(conda_names) if re.search(rf"(?<![\w-]){name}(?![\w-])", body)]
    if asked and (_NO_WHEEL.search(text) or _NOT_FOUND.search(text)):
        parts.append(f"{', '.join(asked)} came from conda and has no such wheel: {ESCAPE}")
    elif _NO_WHEEL.search(text):
        parts.append("what has no wheel must be built: give a Dockerfile with --dockerfile")
    return "; ".join(parts)


def _one_line(text: str) -> str:
    """Printable ASCII words, without the marks that uv draws and without passwords in URLs."""
    text = re.sub(r"://[^/\s@]*@", "://", re.sub(r"[^\x20-\x7e]+", " ", text))
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}..."
