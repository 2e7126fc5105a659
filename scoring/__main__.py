"""``python -m scoring WHAT``: serve a bundle folder, a model folder or an .onnx file."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime's first import, anywhere

from scoring.config import Limits, ServerConfig


def parse(argv: Sequence[str]) -> ServerConfig:
    """The configuration that the command line asks for; exits with 2 on usage errors."""
    parser = argparse.ArgumentParser(prog="python -m scoring", description=__doc__)
    parser.add_argument("what", type=Path, help="bundle folder, model folder or .onnx file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="0: any free port (%(default)s)")
    parser.add_argument(
        "--workers",
        type=_positive,
        help="processes of a score.py (default 1), or threads of a bare model (default: cores)",
    )
    parser.add_argument(
        "--drain-s", type=float, default=30.0, help="bound of SIGTERM (%(default)s)"
    )
    parser.add_argument(
        "--max-body-mib", type=_positive, default=100, help="largest body (%(default)s)"
    )
    parser.add_argument(
        "--body-timeout-s", type=float, default=30.0, help="grace for a slow body (%(default)s)"
    )
    parser.add_argument(
        "--queue", type=_positive, default=1000, help="waiting requests (%(default)s)"
    )
    parser.add_argument("--cors-origins", help="comma list, or *")
    parser.add_argument("--access-log", action="store_true", help="a line for each scoring request")
    asked = parser.parse_args(argv)
    return ServerConfig(
        what=asked.what,
        host=asked.host,
        port=asked.port,
        workers=asked.workers,
        drain_s=asked.drain_s,
        access_log=asked.access_log,
        cors_origins=asked.cors_origins or os.environ.get("AML_CORS_ORIGINS"),
        limits=Limits(
            body_bytes=asked.max_body_mib * 1024 * 1024,
            body_grace_s=asked.body_timeout_s,
            queue=asked.queue,
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve; returns the exit code."""
    config = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s",
    )
    from scoring.server import serve

    return serve(config)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is no port (0 to 65535)")
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    sys.exit(main())
