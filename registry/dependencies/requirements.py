"""Which lines of a requirements file are taken: names with versions, extras, markers and hashes.

What could run a command, read a file or change where packages come from is refused, with the line
and what to do instead: where packages come from is a matter of the machine, not of a file that came
with a model.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from registry.dependencies.standards import allows_python, parse_requirement
from registry.errors import RequirementsError

MAX_CHARS = 4 * 1024 * 1024
MAX_LINES = 50_000
MAX_LINE_CHARS = 64 * 1024
MAX_REQUIREMENT_CHARS = 2_000
MAX_REQUIREMENTS = 2_000
MAX_PARENTHESES = 20
"""More would only make the parser recurse."""
SERVER = "inferry"

_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"\s(?=-)")
_HASH = re.compile(r"--hash(?:=|\s+)sha256:([0-9a-fA-F]{64})(?=\s|$)")
_URL = re.compile(r"://|^(git|hg|svn|bzr)\+|^file:|^[./~\\]|^[A-Za-z]:|\.(whl|zip|tar\.\w+)$", re.I)
_INDEX_OPTIONS = frozenset(
    ["-i", "--index-url", "--pypi-url", "--extra-index-url", "--no-index"]
) | {"-f", "--find-links", "--trusted-host"}
_FILE_OPTIONS = frozenset(["-r", "--requirement", "-c", "--constraint"])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What someone wants installed.

    ``requirements`` are in normal form, each with its ``--hash=sha256:`` options if it has some;
    ``python`` is a version specifier (``>=3.10,<3.12``) or None; ``conda_names`` are those that
    were conda packages; ``notes`` say what was left out."""

    requirements: tuple[str, ...]
    python: str | None = None
    conda_names: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def check_python(self, python: tuple[int, int]) -> None:
        """Raises RequirementsError when another Python than the image's is wanted."""
        if self.python is not None and not allows_python(self.python, python):
            raise RequirementsError(
                f"the conda file wants Python {self.python}, but the base image has"
                f" {python[0]}.{python[1]}; choose another with --base"
            )


def read_requirements(text: str) -> Wanted:
    """The requirements of a requirements.txt. Raises RequirementsError."""
    check_characters(text)
    found: dict[str, None] = {}
    notes = []
    for number, line in _logical_lines(text.removeprefix("\ufeff")):
        requirement = read_requirement(line, f"line {number}")
        if requirement is None:
            notes.append(f"line {number}: {SERVER} is left out, the image has its server")
        else:
            found[requirement] = None
    if len(found) > MAX_REQUIREMENTS:
        raise RequirementsError(f"{len(found)} requirements are more than {MAX_REQUIREMENTS}")
    return Wanted(tuple(found), notes=tuple(notes))


def read_requirement(line: str, where: str) -> str | None:
    """One requirement in normal form, or None for Inferry itself; ``where`` begins the message.
    Raises RequirementsError."""
    line = line.strip()
    if line.startswith("-"):
        raise RequirementsError(f"{where}: {_option_complaint(line)}")
    text, *rest = _OPTION.split(line, maxsplit=1)
    complaint = _complaint(text)
    if complaint:
        raise RequirementsError(f"{where}: {_shown(text)} {complaint}")
    try:
        requirement = parse_requirement(text)
    except ValueError as error:
        raise RequirementsError(
            f"{where}: {_shown(text)} is no requirement ({ascii(str(error))[1:-1][:200]});"
            " write name, name==1.2 or name>=1.2,<2"
        ) from error
    if requirement.has_url:
        raise RequirementsError(f"{where}: {_shown(text)} {_NO_URL}")
    hashes = _read_hashes(rest[0] if rest else "", where)
    if requirement.name == SERVER:
        return None
    return " ".join([requirement.text, *(f"--hash=sha256:{value}" for value in hashes)])


def split_hashes(requirement: str) -> tuple[str, frozenset[str]]:
    """A requirement in our normal form as its text and the sha256 that its wheel may have."""
    text, *hashes = requirement.split(" --hash=sha256:")
    return text, frozenset(hashes)


def check_characters(text: str) -> None:
    """Raises RequirementsError for text that is too large or has invisible characters."""
    if len(text) > MAX_CHARS:
        raise RequirementsError(f"the file has {len(text)} characters, more than {MAX_CHARS}")
    lines = text.removeprefix("\ufeff").split("\n")
    if len(lines) > MAX_LINES:
        raise RequirementsError(f"the file has {len(lines)} lines, more than {MAX_LINES}")
    for number, line in enumerate(lines, 1):
        for char in () if line.isascii() and line.isprintable() else line.removesuffix("\r"):
            category = unicodedata.category(char)
            is_control = category in ("Cc", "Cs", "Zl", "Zp") and char != "\t"
            if is_control or char in _DIRECTION:
                raise RequirementsError(f"line {number}: it has the control character {char!a}")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, joined where one ends with a backslash, with the number of the
    first; as pip does it."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        first = first if parts else number
        is_comment = line.lstrip().startswith("#")
        is_continued = line.endswith("\\") and not is_comment
        parts.append(line[:-1] if is_continued else f" {line}" if is_comment else line)
        if is_continued:
            continue
        yield from _stripped(first, parts)
        parts = []
    yield from _stripped(first, parts)


def _stripped(number: int, parts: list[str]) -> Iterator[tuple[int, str]]:
    joined = "".join(parts)
    if len(joined) > MAX_LINE_CHARS:
        raise RequirementsError(
            f"line {number}: it has {len(joined)} characters, more than {MAX_LINE_CHARS}"
        )
    line = _COMMENT.sub("", joined).strip()
    if line:
        yield number, line


_NO_URL = (
    "is a URL or a path; name the package, and put a wheel that no index has into a folder"
    " for --wheelhouse"
)


def _complaint(text: str) -> str | None:
    if len(text) > MAX_REQUIREMENT_CHARS or text.count("(") > MAX_PARENTHESES:
        return "is too long"
    if not text.isascii():
        bad = next(char for char in text if not char.isascii())
        return f"has {bad!a} ({unicodedata.name(bad, 'unnamed character')})"
    if "${" in text:
        return "has an environment variable; write its value"
    if "$" in text or "`" in text:
        return "has shell text; requirements are not run by a shell"
    if _URL.search(text.partition(";")[0].strip()):
        return _NO_URL
    return None


def _option_complaint(line: str) -> str:
    option = re.split(r"[=\s]", line, maxsplit=1)[0]
    shown = _shown(option)
    if option in _FILE_OPTIONS or option[:2] in ("-r", "-c"):
        return f"{shown} reads another file; put its lines into this one"
    if option in _INDEX_OPTIONS or option[:2] in ("-i", "-f"):
        return (
            f"{shown} says where packages come from; set that on this machine"
            " (pip.conf, PIP_INDEX_URL or UV_INDEX), or use --wheelhouse"
        )
    if option == "--editable" or option[:2] == "-e":
        return f"{shown} installs from a folder; build a wheel and use --wheelhouse"
    return f"{shown} is an option, which is not taken here; keep only names and versions"


def _read_hashes(options: str, where: str) -> list[str]:
    rest = _HASH.sub("", options).strip()
    if rest:
        if rest.startswith("--hash"):
            raise RequirementsError(f"{where}: {_shown(rest)} is no --hash=sha256:<64 hex digits>")
        raise RequirementsError(f"{where}: {_option_complaint(rest)}")
    return sorted({value.lower() for value in _HASH.findall(options)})


def _shown(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}...'"
