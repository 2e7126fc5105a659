"""The command ``azmlinfsrv``: the options of Azure's inference server before Inferry's own.

The options, their priority (command line, environment, config file), the exit codes and the
settings block that is printed follow azureml-inference-server-http 1.5.1 (research/serving.md,
section 2.2).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from scoring.azure import logging_config
from scoring.azure.config import AzureConfig, read_config
from scoring.config import ServerConfig, Watching

VERSION = "1.5.1"
"""The version of the contract, as x-ms-server-version shows it."""
DEFAULT_PORT = 5001
DEFAULT_HEALTH_PORT = 5000
NO_SCRIPT = (
    "Either provide an entry_script using --entry_script or "
    "provide a path to the configuration file using --config_file"
)
SETTINGS = (
    ("AZUREML_ENTRY_SCRIPT", "Entry Script Name"),
    ("AZUREML_MODEL_DIR", "Model Directory"),
    ("AZUREML_CONFIG_FILE", "Config File"),
    ("WORKER_COUNT", "Worker Count"),
    ("WORKER_TIMEOUT", "Worker Timeout (seconds)"),
    ("SERVER_PORT", "Server Port"),
    ("HEALTH_PORT", "Health Port"),
    ("AML_APP_INSIGHTS_ENABLED", "Application Insights Enabled"),
    ("AML_APP_INSIGHTS_KEY", "Application Insights Key"),
    ("HTTP_X_MS_SERVER_VERSION", "Inferencing HTTP server version"),
    ("AML_CORS_ORIGINS", "CORS for the specified origins"),
    ("SEPERATE_HEALTH_ENDPOINT", "Create dedicated endpoint for health"),
)


class _Parser(argparse.ArgumentParser):
    """Exits with 1 on usage errors, as the reference does."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong and leave."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: error: {message}\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; exits with 1 when it is wrong."""
    parser = _Parser(prog="azmlinfsrv", description="Serve an Azure ML score.py with Inferry")
    parser.add_argument("--entry_script", help="path of the scoring script")
    parser.add_argument("--model_dir", help="value of AZUREML_MODEL_DIR for the script")
    parser.add_argument("--port", type=_port, help=f"serving port (default {DEFAULT_PORT})")
    parser.add_argument(
        "--health_port",
        type=_port,
        help="second port, when SEPERATE_HEALTH_ENDPOINT=true (default 5000)",
    )
    parser.add_argument("--worker_count", type=_count, help="script worker processes (default 1)")
    parser.add_argument("--appinsights_instrumentation_key", help="accepted and ignored")
    parser.add_argument("--access_control_allow_origins", help="CORS origins: comma list, or *")
    parser.add_argument("--config_file", help="JSON file with settings")
    parser.add_argument("--rest", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def merge(asked: argparse.Namespace, environ: MutableMapping[str, str]) -> None:
    """Put the command line into ``environ``, which the script sees too; AZUREML_MODEL_DIR gets no
    default, since scripts rely on their own."""
    environ.setdefault("AML_APP_ROOT", os.getcwd())
    if asked.entry_script:
        environ["AZUREML_ENTRY_SCRIPT"] = os.path.realpath(asked.entry_script)
    if asked.model_dir:
        environ["AZUREML_MODEL_DIR"] = asked.model_dir
    environ["WORKER_COUNT"] = str(asked.worker_count or environ.get("WORKER_COUNT") or 1)
    environ["SERVER_PORT"] = str(asked.port or DEFAULT_PORT)
    if environ.get("SEPERATE_HEALTH_ENDPOINT") == "true":
        environ["HEALTH_PORT"] = str(asked.health_port or DEFAULT_HEALTH_PORT)
    else:
        environ["HEALTH_PORT"] = environ["SERVER_PORT"]
    if environ.get("SERVER_VERSION_LOG_RESPONSE_ENABLED", "true").lower() == "true":
        environ.setdefault("HTTP_X_MS_SERVER_VERSION", f"azmlinfsrv/{VERSION}")
    environ["AML_APP_INSIGHTS_ENABLED"] = "false"  # telemetry to a cloud is not ours to send
    if asked.access_control_allow_origins is not None:
        environ["AML_CORS_ORIGINS"] = asked.access_control_allow_origins
    if asked.config_file:
        environ["AZUREML_CONFIG_FILE"] = os.path.realpath(asked.config_file)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve; returns the exit code: 1 usage, 3 when the script or the configuration fails."""
    asked = parse(sys.argv[1:] if argv is None else argv)
    if not (asked.entry_script or asked.config_file):
        print(f"Error!\n{NO_SCRIPT}", file=sys.stderr)
        return 1
    environ = dict(os.environ)
    merge(asked, environ)
    try:
        azure = read_config(environ)
        config = _server_config(environ, azure)
        logging_config.set_up(azure.app_root, azure.entry_script)
    except (ValueError, OSError) as error:
        print(f"configuration error: {error}", file=sys.stderr)
        return 3
    print_settings(environ)
    from scoring.server import serve

    return serve(config, script=environ)


def print_settings(environ: MutableMapping[str, str]) -> None:
    """The reference's block of settings and routes."""
    print("\nServer Settings\n---------------")
    for variable, label in SETTINGS:
        print(f"{label}: {_shown(variable, environ)}")
    print("\nServer Routes\n---------------")
    print(f"Liveness Probe: GET   127.0.0.1:{environ['HEALTH_PORT']}/")
    print(f"Score:          POST  127.0.0.1:{environ['SERVER_PORT']}/score\n", flush=True)


def _shown(variable: str, environ: MutableMapping[str, str]) -> str:
    if variable not in environ:
        return "None"
    if variable == "AML_CORS_ORIGINS":
        return f"Enabling CORS for {environ[variable]}"
    if variable == "AML_APP_INSIGHTS_KEY":
        return "AppInsights key provided (not used)"
    return environ[variable]


def _server_config(environ: MutableMapping[str, str], azure: AzureConfig) -> ServerConfig:
    own_health = environ["HEALTH_PORT"] != environ["SERVER_PORT"]
    return ServerConfig(
        what=Path(environ.get("AZUREML_ENTRY_SCRIPT", "main")),
        host="0.0.0.0",
        port=int(environ["SERVER_PORT"]),
        health_port=int(environ["HEALTH_PORT"]) if own_health else None,
        workers=_count(environ["WORKER_COUNT"]),
        server_version=environ.get("HTTP_X_MS_SERVER_VERSION"),
        cors_origins=azure.cors_origins,
        watching=Watching(access_log="text"),
    )


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"port {port} is not in the range [1, 65535]")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count <= 0:
        raise argparse.ArgumentTypeError(f"worker count {count} is not greater than zero")
    return count


if __name__ == "__main__":
    sys.exit(main())
