"""Logging and print() as scripts of the reference server know them.

A log line is ``2026-01-31 12:00:00,123 I [pid] azmlinfsrv - message`` in UTC on stdout; print() to
stdout becomes a line of the logger ``azmlinfsrv.print``. A ``logging.json`` in the app root, else
beside the entry script, replaces this set-up (``logging.config.dictConfig``).
"""

from __future__ import annotations

import builtins
import functools
import json
import logging
import logging.config
import os
import sys
import time
from typing import Any, Literal

LINE = "%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s"
_REFERENCE = "azureml_inference_server_http.log_config"
DEFAULT: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"azmlinfsrv": {"()": "scoring.azure.logging_config.AMLLogFormatter"}},
    "handlers": {
        "azmlinfsrv": {
            "class": "logging.StreamHandler",
            "level": "INFO",
            "stream": "ext://sys.stdout",
            "formatter": "azmlinfsrv",
        }
    },
    "loggers": {"azmlinfsrv": {"level": "INFO", "handlers": ["azmlinfsrv"], "propagate": False}},
}


class AMLLogFormatter(logging.Formatter):
    """The line above; a logging.json may name it by the reference's module path."""

    def __init__(
        self, fmt: str = LINE, datefmt: str | None = None, style: Literal["%", "{", "$"] = "%"
    ) -> None:
        super().__init__(fmt=fmt, datefmt=datefmt, style=style)
        self.converter = time.gmtime


class RootAccessFilter(logging.Filter):
    """Leaves liveness probes out of an access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True for every line but a liveness probe's."""
        return "GET / HTTP/1.1" not in record.getMessage()


def set_up(app_root: str, entry_script: str | None) -> None:
    """Configure logging for this process. Raises ValueError or OSError for a bad logging.json."""
    folders = [app_root]
    if entry_script:
        folders.append(os.path.dirname(os.path.realpath(entry_script)))
    for folder in folders:
        path = os.path.join(folder, "logging.json")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                text = file.read().replace(_REFERENCE, __name__)
            logging.config.dictConfig(json.loads(text))
            logging.getLogger("azmlinfsrv").info("Loaded logging config from %s", path)
            return
    logging.config.dictConfig(DEFAULT)


def redirect_print() -> None:
    """Send what print() writes to stdout to the log instead."""
    real_print = builtins.print
    logger = logging.getLogger("azmlinfsrv.print")

    @functools.wraps(real_print)
    def print_to_log(
        *objects: object,
        sep: str | None = " ",
        end: str | None = "\n",
        file: Any = None,
        flush: bool = False,
    ) -> None:
        if file is None or file is sys.stdout:
            logger.info("%s", (" " if sep is None else sep).join(map(str, objects)))
        else:
            real_print(*objects, sep=sep, end=end, file=file, flush=flush)

    builtins.print = print_to_log
