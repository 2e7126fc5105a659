"""``python -m scoring WHAT``: serve a bundle folder, a model folder or an .onnx file."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime's first import, anywhere

from scoring.config import MIB, Batching, Limits, ServerConfig, Watching


def parse(argv: Sequence[str]) -> ServerConfig:
    """The configuration that the command line asks for; exits with 2 on usage errors."""
    parser = argparse.ArgumentParser(prog="python -m scoring", description=__doc__)
    parser.add_argument("what", type=Path, help="bundle folder, model folder or .onnx file")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="0: any free port (%(default)s)")
    _add_sizes(parser)
    _add_limits(parser)
    _add_watching(parser)
    asked = parser.parse_args(argv)
    return ServerConfig(
        what=asked.what,
        host=asked.host,
        port=asked.port,
        processes=asked.processes,
        workers=asked.workers,
        threads=asked.threads,
        drain_s=asked.drain_s,
        server_name=asked.server_name,
        cors_origins=asked.cors_origins or os.environ.get("AML_CORS_ORIGINS"),
        limits=Limits(
            body_bytes=asked.max_body_mib * MIB,
            body_grace_s=asked.body_timeout_s,
            idle_s=asked.keep_alive_s,
            queue=asked.queue,
            deadline_ms=asked.deadline_ms,
        ),
        batching=Batching(asked.max_batch, asked.split_oversize),
        watching=Watching(
            access_log="json" if asked.access_log else None,
            triton_metrics=asked.triton_metrics,
            tracing=asked.trace,
            capture=asked.capture,
            capture_share=asked.capture_share,
            capture_bytes=asked.capture_mib * MIB,
            shadow=asked.shadow,
            shadow_share=asked.shadow_share,
        ),
    )


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes",
        type=_positive,
        help="server processes (default: one for each CPU for a model, 1 for a score.py)",
    )
    parser.add_argument(
        "--workers",
        type=_positive,
        help="processes of a score.py, all together (default 1); server processes of a model",
    )
    parser.add_argument(
        "--threads", type=_positive, help="onnxruntime threads of each process (default: shared)"
    )
    parser.add_argument(
        "--max-batch",
        type=_positive,
        help="most rows of a merged batch; 1: never merge (default: the bundle's, else 64)",
    )
    parser.add_argument(
        "--split-oversize",
        action="store_true",
        help="run a request of more rows than --max-batch in several pieces",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deadline-ms",
        type=_milliseconds,
        help="deadline of requests without x-request-deadline-ms (default: none)",
    )
    parser.add_argument(
        "--queue",
        type=_positive,
        default=1000,
        help="requests that may wait in each process (%(default)s)",
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
        "--keep-alive-s", type=float, default=75.0, help="idle connections (%(default)s)"
    )


def _add_watching(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cors-origins", help="comma list, or *")
    parser.add_argument("--server-name", default="inferry", help="what /v2 says (%(default)s)")
    parser.add_argument(
        "--access-log", action="store_true", help="a JSON line for each scoring request"
    )
    parser.add_argument(
        "--triton-metrics", action="store_true", help="nv_inference_* names on /metrics too"
    )
    parser.add_argument(
        "--trace", action="store_true", help="OpenTelemetry spans (needs inferry[otel])"
    )
    parser.add_argument("--capture", type=Path, help="write inputs and outputs to this file")
    parser.add_argument(
        "--capture-share", type=_share, default=1.0, help="of the requests (%(default)s)"
    )
    parser.add_argument(
        "--capture-mib", type=_positive, default=100, help="size of the file (%(default)s)"
    )
    parser.add_argument("--shadow", type=Path, help="a second model that gets requests too")
    parser.add_argument(
        "--shadow-share", type=_share, default=1.0, help="of the requests (%(default)s)"
    )


def main(argv: Sequence[str] | None = None, reopen: Callable[[], Path] | None = None) -> int:
    """Serve; returns the exit code. ``reopen`` gives what to serve after a SIGHUP."""
    config = parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s [%(process)d] %(name)s - %(message)s",
    )
    from scoring.server import serve

    return serve(config, reopen=reopen)


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


def _milliseconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is no positive number of milliseconds")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share (0 to 1)")
    return number


if __name__ == "__main__":
    sys.exit(main())
