"""Which names, keys, values and file paths a run may have. Pure.

They come from training scripts and through MLflow's REST, whose users have spaces, slashes and
letters of any alphabet in them: so more is allowed than in names of models. What a terminal would
act on is not, and no path leads out of the run.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from registry.errors import InvalidNameError
from registry.names import check_text

MAX_KEY_CHARS = 250
MAX_EXPERIMENT_CHARS = 500
MAX_PARAM_CHARS = 6000
MAX_TAG_CHARS = 8000
MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255
MAX_PAIRS = 1000
"""Params, tags or properties of a run."""
MAX_DOCUMENT_CHARS = 4 * 1024 * 1024
INT64 = 2**63
KINDS = frozenset(
    (
        "list",
        "row",
        "table",
        "image",
        "confusion_matrix",
        "accuracy_table",
        "residuals",
        "predictions",
    )
)
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?:\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_ID = re.compile(r"[0-9a-f]{32}")
RESERVED = (".inferry", ".wh.")
"""How the registry's own temporary files begin, and what means a deletion in an image."""


def check_experiment(name: str) -> str:
    """``name`` itself. Raises InvalidNameError."""
    _check_printable(name, "the experiment name", MAX_EXPERIMENT_CHARS)
    return name


def check_key(key: str, what: str) -> str:
    """``key`` itself: of a metric, param, tag or property. Raises InvalidNameError."""
    _check_printable(key, f"the name of a {what}", MAX_KEY_CHARS)
    return key


def check_run_name(name: str) -> str:
    """``name`` itself, or "" for a run without one. Raises InvalidNameError."""
    return check_text(name, "the run name", MAX_KEY_CHARS)


def check_id(id: str) -> str:
    """``id`` itself: 32 hexadecimal digits. Raises InvalidNameError."""
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise InvalidNameError(f"{_shown(id)} is no run id: 32 hexadecimal digits")
    return id


def check_params(params: Mapping[str, str]) -> dict[str, str]:
    """Valid params. Raises InvalidNameError."""
    return _checked(params, "param", MAX_PARAM_CHARS)


def check_tags(tags: Mapping[str, str], what: str = "tag") -> dict[str, str]:
    """Valid tags or properties. Raises InvalidNameError."""
    return _checked(tags, what, MAX_TAG_CHARS)


def check_integer(number: int, what: str) -> int:
    """``number`` itself, if it fits 64 bits. Raises InvalidNameError."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidNameError(f"{what} must be an integer, not {type(number).__name__}")
    if not -INT64 <= number < INT64:
        raise InvalidNameError(f"{what} {_shown(number)} does not fit 64 bits")
    return number


def check_kind(kind: str) -> str:
    """``kind`` itself, of a value that is no number. Raises InvalidNameError."""
    if kind not in KINDS:
        raise InvalidNameError(f"{_shown(kind)} is no kind of value; known: {sorted(KINDS)}")
    return kind


def check_document(document: str, key: str) -> str:
    """``document`` itself. Raises InvalidNameError for one that should be a file."""
    if len(document) > MAX_DOCUMENT_CHARS:
        raise InvalidNameError(
            f"the value of '{key}' has {len(document)} characters as JSON, more than"
            f" {MAX_DOCUMENT_CHARS}; write it to a file and upload that"
        )
    return document


def check_path(path: str) -> str:
    """``path`` itself: the POSIX path of a file in a run. Raises InvalidNameError, saying what is
    wrong with it."""
    complaint = _complaint(path)
    if complaint:
        raise InvalidNameError(
            f"the file name {_shown(path)} {complaint}; a file of a run has a relative path like"
            " outputs/model.onnx"
        )
    return path


def check_folder(path: str) -> str:
    """``path`` of a folder in a run, without a slash at its end; "" is the run itself. Raises
    InvalidNameError."""
    bare = path.removesuffix("/")
    return check_path(bare) if bare else ""


def folders_of(path: str) -> tuple[str, ...]:
    """``a/b/c``: ``a``, ``a/b``."""
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))


def clashes(paths: Iterable[str]) -> str | None:
    """A path that is both a file and a folder of others, if there is one."""
    files = set(paths)
    return next((folder for path in files for folder in folders_of(path) if folder in files), None)


def _checked(pairs: Mapping[str, str], what: str, limit: int) -> dict[str, str]:
    if len(pairs) > MAX_PAIRS:
        raise InvalidNameError(f"{len(pairs)} are too many ({what}); at most {MAX_PAIRS}")
    for key, value in pairs.items():
        check_key(key, what)
        if not isinstance(value, str):
            raise InvalidNameError(
                f"the value of {what} '{key}' must be text, not {type(value).__name__}"
            )
        if len(value) > limit:
            raise InvalidNameError(
                f"the value of {what} '{key}' has {len(value)} characters; at most {limit}"
            )
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidNameError(f"the value of {what} '{key}' is no valid text")
    return dict(pairs)


def _check_printable(text: str, what: str, limit: int) -> None:
    check_text(text, what, limit)
    if not text.strip():
        raise InvalidNameError(f"{what} is empty")
    if text != text.strip():
        raise InvalidNameError(f"{what} {_shown(text)} begins or ends with white space")


def _complaint(path: str) -> str | None:
    if not path:
        return "is empty"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in path):
        return "has a control character or no valid text"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    plain = unicodedata.normalize("NFKC", path)
    if path.startswith("/") or _DRIVE.match(path):
        return "is absolute"
    if "\\" in plain or plain.count("/") != path.count("/"):
        return "has a backslash, or a letter that looks like a slash"
    for part in path.split("/"):
        complaint = _part_complaint(part)
        if complaint:
            return complaint
    return None


def _part_complaint(part: str) -> str | None:
    plain = unicodedata.normalize("NFKC", part)
    if plain.strip() in ("", ".", ".."):
        return "has an empty part, '.' or '..'"
    if part != part.strip() or part.endswith("."):
        return "has a part that begins or ends with a space, or ends with a dot"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part longer than {MAX_PART_BYTES} bytes"
    if _DEVICE.fullmatch(plain) or plain.startswith(RESERVED):
        return f"has the reserved name {part!a}"
    return None


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}...'"
