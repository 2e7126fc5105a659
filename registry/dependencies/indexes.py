"""Where packages come from: what the user set for uv, else what they set for pip, in uv's words.

A project's own files never decide it. pip's configuration means what it means to pip: the command's
section beats [global], a later file an earlier one, the environment all files, and the best version
of all indexes is taken.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from registry.errors import RequirementsError

MAX_FILE_BYTES = 1024 * 1024
UV_SETTINGS = re.compile(
    "UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|CONFIG_FILE)"
)
_URL_SETTINGS = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_UV_KEYS = frozenset(["index", "index-url", "extra-index-url", "find-links", "no-index"])
_PIP_SECTIONS = ("global", "install")


@dataclass(frozen=True, slots=True)
class Indexes:
    """How uv is to be called: additional arguments, and all of its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    def credentials(self) -> dict[str, tuple[str, str]]:
        """User and password by ``scheme://host:port``, of the indexes that have them in their URL.
        A lock has no URL with a password, so a download asks here."""
        found = {}
        for key in _URL_SETTINGS:
            for word in self.environment.get(key, "").split():
                parts = urlsplit(re.sub(r"^[\w.-]+=", "", word))
                if parts.username is not None:
                    user, password = unquote(parts.username), unquote(parts.password or "")
                    found[origin(word)] = (user, password)
        return found

    def is_trusted(self, url: str) -> bool:
        """Whether the user said not to look at this host's certificate."""
        hosts = self.environment.get("UV_INSECURE_HOST", "").split()
        parts = urlsplit(url)
        return parts.hostname in hosts or parts.netloc.rpartition("@")[2] in hosts


def origin(url: str) -> str:
    """``https://host:port``, without a user."""
    parts = urlsplit(re.sub(r"^[\w.-]+=", "", url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def read_indexes(environment: Mapping[str, str]) -> Indexes:
    """What the environment and the user's files say. Raises RequirementsError for a file that
    cannot be read."""
    uv_file = _uv_file(environment)
    result = dict(environment)
    arguments = ["--no-config"] if uv_file is None else ["--config-file", str(uv_file)]
    if "UV_CONFIG_FILE" in environment or "UV_NO_CONFIG" in environment:
        arguments = []
    if links := environment.get("UV_FIND_LINKS"):
        result["UV_FIND_LINKS"] = ",".join(map(_absolute, links.split(",")))
    pip = dict(_pip_settings(environment))
    has_uv = any(UV_SETTINGS.fullmatch(key) for key in environment) or _sets_index(uv_file)
    translated = _network(pip) if has_uv else {**_network(pip), **_sources(pip)}
    for key, value in translated.items():
        result.setdefault(key, value)
    return Indexes(tuple(arguments), result)


def only_wheelhouse(environment: Mapping[str, str], folder: Path) -> Indexes:
    """No index at all, just the wheels of a folder."""
    kept = {key: value for key, value in environment.items() if not UV_SETTINGS.fullmatch(key)}
    arguments = ("--no-config", "--no-index", "--find-links", folder.absolute().as_uri())
    return Indexes(arguments, kept)


def _sources(pip: Mapping[str, str]) -> dict[str, str]:
    """pip's indexes as uv's variables; in arguments every process could see passwords."""
    found = {}
    if url := pip.get("index-url"):
        found["UV_DEFAULT_INDEX"] = url
    if urls := pip.get("extra-index-url", "").split():
        found["UV_INDEX"] = " ".join(urls)
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if links := pip.get("find-links", "").split():
        found["UV_FIND_LINKS"] = ",".join(map(_absolute, links))
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        found["UV_NO_INDEX"] = "1"
    return found


def _network(pip: Mapping[str, str]) -> dict[str, str]:
    found = {}
    if certificates := pip.get("cert"):
        found["SSL_CERT_FILE"] = certificates
    if certificate := pip.get("client-cert"):
        found["SSL_CLIENT_CERT"] = certificate
    if hosts := pip.get("trusted-host", "").split():
        found["UV_INSECURE_HOST"] = " ".join(hosts)
    if proxy := pip.get("proxy"):
        found["HTTPS_PROXY"] = found["HTTP_PROXY"] = proxy
    return found


def _pip_settings(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Key and value, later ones beat earlier ones."""
    files = [_read_pip_file(path) for path in _pip_files(environment)]
    for section in _PIP_SECTIONS:
        for parser in files:
            if parser.has_section(section):
                for key, value in parser.items(section):
                    yield key.lower().replace("_", "-"), value
    for key, value in environment.items():
        if key.startswith("PIP_") and value:
            yield key.removeprefix("PIP_").lower().replace("_", "-"), value


def _pip_files(environment: Mapping[str, str]) -> list[Path]:
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environment.get("HOME") or "/nonexistent")
    system = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    return [
        *(Path(folder, "pip", "pip.conf") for folder in system),
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        _config_home(environment) / "pip" / "pip.conf",
        Path(sys.prefix, "pip.conf"),
        *([Path(named)] if named else []),
    ]


def _read_pip_file(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    text = _read(path)
    try:
        parser.read_string(text or "")
    except configparser.Error as error:
        raise RequirementsError(
            "pip's configuration cannot be read; see what 'pip config debug' says"
        ) from error
    return parser


def _uv_file(environment: Mapping[str, str]) -> Path | None:
    found = (_config_home(environment) / "uv" / "uv.toml", Path("/etc/uv/uv.toml"))
    return next((path for path in found if path.is_file()), None)


def _sets_index(path: Path | None) -> bool:
    try:
        document = tomllib.loads(_read(path) or "") if path else {}
    except tomllib.TOMLDecodeError as error:
        raise RequirementsError("uv's configuration (uv.toml) is no TOML; mend it") from error
    pip = document.get("pip")
    return bool(_UV_KEYS & {*document, *(pip if isinstance(pip, dict) else ())})


def _config_home(environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME") or "/nonexistent"
    return Path(environment.get("XDG_CONFIG_HOME") or Path(home, ".config"))


def _read(path: Path) -> str | None:
    """The text of a small file, or None when there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return None
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def _absolute(link: str) -> str:
    """uv runs in a folder of its own, so a relative folder needs this one; as a URL it may have
    a comma, which separates links."""
    is_url = "://" in link or link.startswith("file:")
    return link if is_url else Path(os.path.abspath(link)).as_uri()
