"""A tar.gz for who helps: what runs, how it is, and what was logged. No key, token or value of a
module's environment is in it.

    data = make(config, logs={"digits": "..."}, results=checks.run(config))
"""

from __future__ import annotations

import gzip
import io
import platform
import re
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from edge.agent import log, machine
from edge.agent.check import Check
from edge.agent.checks import text
from edge.agent.config import AgentConfig
from edge.agent.view import kept_desired, kept_report
from edge.messages.desired import Desired

MAX_LOG_BYTES = 256 * 1024
HIDDEN = "(hidden)"
LEAST_SECRET = 6
"""A shorter value, such as 1 or true, is no secret, and occurs everywhere."""
_KEY = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_TOKEN = re.compile(r"\bify_[A-Za-z0-9_-]{16,}|(?i:\b(?:bearer|basic) +)[A-Za-z0-9+/=._~-]{8,}")


def make(config: AgentConfig, *, logs: Mapping[str, str], results: Sequence[Check]) -> bytes:
    """``logs``: of modules, by name."""
    desired = kept_desired(config.state)
    secrets = list(_secrets(config, desired))
    report = kept_report(config.state)
    files = {
        "check.txt": text(results) + "\n",
        "machine.txt": _machine(config),
        "agent.toml": _read(config.path),
        "agent.log": _read(log.before(config.state / log.NAME)) + _read(config.state / log.NAME),
        "reported.json": "" if report is None else _json(report),
        "desired.json": "" if desired is None else _json(without_env(desired)),
        **{f"modules/{name}.log": text for name, text in logs.items()},
    }
    return _pack({name: scrub(body, secrets) for name, body in files.items() if body})


def scrub(body: str, secrets: Iterable[str]) -> str:
    """``body`` without these, and without what looks like a key or token."""
    for secret in sorted(secrets, key=len, reverse=True):
        body = body.replace(secret, HIDDEN)
    return _TOKEN.sub(HIDDEN, _KEY.sub(HIDDEN, body))


def without_env(desired: Desired) -> Desired:
    """The names of variables say enough."""
    modules = tuple(
        msgspec.structs.replace(module, env=dict.fromkeys(module.env, HIDDEN))
        for module in desired.modules
    )
    return msgspec.structs.replace(desired, modules=modules)


def _secrets(config: AgentConfig, desired: Desired | None) -> Iterable[str]:
    token = _read(config.identity / "registry-token").strip()
    key = _read(config.identity / "device.key")
    for secret in (token, *key.splitlines()):
        if len(secret) >= LEAST_SECRET and not secret.startswith("-----"):
            yield secret
    for module in desired.modules if desired is not None else ():
        yield from (value for value in module.env.values() if len(value) >= LEAST_SECRET)


def _machine(config: AgentConfig) -> str:
    folder = config.state if config.state.is_dir() else Path("/")
    lines = [f"python {sys.version}", f"system {platform.platform()}"]
    found = machine.report(folder)
    lines += [f"{name} {getattr(found, name)}" for name in found.__struct_fields__]
    if config.state.is_dir():
        lines += [
            f"{path.name} {path.stat().st_size} bytes"
            for path in sorted(config.state.iterdir())
            if path.is_file()
        ]
    return "\n".join(lines) + "\n"


def _pack(files: Mapping[str, str]) -> bytes:
    made = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=made, mode="wb", compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, body in sorted(files.items()):
            data = body.encode(errors="replace")
            entry = tarfile.TarInfo(f"support/{name}")
            entry.size = len(data)
            entry.mode = 0o600
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def _read(path: Path) -> str:
    """Its end, when it is long; "" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_LOG_BYTES))
            return file.read(MAX_LOG_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _json(message: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(message), indent=2).decode() + "\n"
