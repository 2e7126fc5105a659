"""The settings of the Azure contract: environment first, then config.json.

The command line is folded into the environment by whoever starts the worker, so the order is
command line, environment, file, as in azureml-inference-server-http 1.5.1 (server/config.py). Also
from there: some settings are read from the environment only; unknown keys of the file only warn.

One setting is ours, from the environment only: ``INFERRY_MERGE``, ``auto`` (the default) or
``off``. With ``off`` no call of the script ever has more than one request, run() is not tried on
its sample at load, and a run_batch() is left alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger("azmlinfsrv")

DEFAULT_APP_ROOT = "/var/azureml-app"
_FILE_KEYS = frozenset(
    [
        "AZUREML_SOURCE_DIRECTORY",
        "AZUREML_ENTRY_SCRIPT",
        "SERVICE_NAME",
        "WORKSPACE_NAME",
        "SERVICE_PATH_PREFIX",
        "SERVICE_VERSION",
        "SCORING_TIMEOUT_MS",
        "AZUREML_LOG_LEVEL",
        "APP_INSIGHTS_LOG_RESPONSE_ENABLED",
        "AZUREML_MODEL_DIR",
        "HOSTNAME",
        "AZUREML_DEBUG_PORT",
    ]
)


class ConfigError(ValueError):
    """A setting cannot be used; ``str()`` names it."""


@dataclass(frozen=True, slots=True)
class AzureConfig:
    """What the contract can set. ``None`` means: not given."""

    app_root: str = DEFAULT_APP_ROOT
    source_dir: str | None = None
    entry_script: str | None = None
    model_dir: str = ""
    service_name: str = "ML service"
    service_version: str = "1.0"
    service_path_prefix: str = ""
    workspace_name: str = ""
    scoring_timeout_ms: int = 3_600_000
    log_level: str = "INFO"
    cors_origins: str | None = None
    hostname: str = "Unknown"
    merges: bool = True
    """Whether several requests may be answered by one call of the script."""


def read_config(environ: Mapping[str, str]) -> AzureConfig:
    """The settings of this environment and of the file that it names or implies.

    Raises ConfigError."""
    path = config_file(environ)
    file = {} if path is None else _read(path)
    for key in unknown_keys(file):
        logger.warning("the config file has a key that is not supported: %s", key)
    return make_config(environ, file)


def make_config(environ: Mapping[str, str], file: Mapping[str, Any]) -> AzureConfig:
    """Pure: the settings from an environment and the content of a config file."""

    def get(name: str, default: str | None = None) -> Any:
        given = environ.get(name)
        if given is None and name in _FILE_KEYS:
            given = file.get(name)
        return default if given is None else given

    return AzureConfig(
        app_root=get("AML_APP_ROOT", DEFAULT_APP_ROOT),
        source_dir=get("AZUREML_SOURCE_DIRECTORY"),
        entry_script=get("AZUREML_ENTRY_SCRIPT"),
        model_dir=get("AZUREML_MODEL_DIR", ""),
        service_name=_text("SERVICE_NAME", get("SERVICE_NAME", "ML service")),
        service_version=_text("SERVICE_VERSION", get("SERVICE_VERSION", "1.0")),
        service_path_prefix=_text("SERVICE_PATH_PREFIX", get("SERVICE_PATH_PREFIX", "")),
        workspace_name=get("WORKSPACE_NAME", ""),
        scoring_timeout_ms=_whole("SCORING_TIMEOUT_MS", get("SCORING_TIMEOUT_MS", "3600000")),
        log_level=get("AZUREML_LOG_LEVEL", "INFO"),
        cors_origins=get("AML_CORS_ORIGINS"),
        hostname=get("HOSTNAME", "Unknown"),
        merges=_merges(environ.get("INFERRY_MERGE", "auto")),
    )


def unknown_keys(file: Mapping[str, Any]) -> list[str]:
    """Keys of a config file that set nothing."""
    return sorted(set(file) - _FILE_KEYS)


def config_file(environ: Mapping[str, str]) -> Path | None:
    """AZUREML_CONFIG_FILE, else config.json in the app root, else beside the entry script. A file
    that is missing or empty is passed over."""
    script = environ.get("AZUREML_ENTRY_SCRIPT")
    candidates = [
        environ.get("AZUREML_CONFIG_FILE") or None,
        Path(environ.get("AML_APP_ROOT", DEFAULT_APP_ROOT), "config.json"),
        None if script is None else Path(script).absolute().parent / "config.json",
    ]
    for candidate in candidates:
        if candidate is not None and Path(candidate).exists() and Path(candidate).stat().st_size:
            return Path(candidate)
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no valid config file: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no valid config file: it must hold a JSON object")
    return content


def _merges(value: str) -> bool:
    if value.strip().lower() not in ("auto", "off"):
        raise ConfigError(f"INFERRY_MERGE: must be auto or off, not {value!r}")
    return value.strip().lower() == "auto"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name}: must be a string, not {value!r}")
    return value


def _whole(name: str, value: object) -> int:
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
        if number.is_integer():
            return int(number)
    except ValueError:
        pass
    raise ConfigError(f"{name}: must be a whole number of milliseconds, not {value!r}")
