"""Starts a scoring server: what is served is opened, ports are taken, processes are forked.

exit_code = serve(config)                     # a bundle, a model folder or an .onnx file
exit_code = serve(config, script=environ)     # the script that environ names (azmlinfsrv)
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scoring.azure.config import ConfigError, read_config
from scoring.azure.cors import Cors
from scoring.bundle import open_bundle
from scoring.config import ServerConfig
from scoring.cpu_plan import CpuPlan, plan, read_quota
from scoring.engines import ONNX, SCRIPT, find
from scoring.errors import BundleError

if TYPE_CHECKING:
    from scoring.process import Generation

logger = logging.getLogger("scoring")

BACKLOG = 2048


def serve(
    config: ServerConfig,
    *,
    script: Mapping[str, str] | None = None,
    reopen: Callable[[], Path] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Says what is wrong in one line.
    ``reopen`` gives what to serve after a SIGHUP; without it ``config.what`` is read again."""
    environ = dict(os.environ)
    # The pool of threads that numpy starts by itself is of no use here, and forking needs it gone.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    where = reopen or (lambda: config.what)
    listeners: list[socket.socket] = []
    try:
        if config.cors_origins:
            Cors(config.cors_origins)  # raises ConfigError now, not in each process
        generation = _generation(config.what, script, environ)
        found = _plan(config, generation)
        for port in (config.port, config.health_port):
            if port is not None:
                listeners.append(_listen(config.host, port))
    except (BundleError, ConfigError, ValueError, OSError) as error:
        for listener in listeners:
            listener.close()
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _supervise(config, found, generation, listeners, where, script, environ)


def _supervise(
    config: ServerConfig,
    found: CpuPlan,
    generation: Generation,
    listeners: list[socket.socket],
    where: Callable[[], Path],
    script: Mapping[str, str] | None,
    environ: Mapping[str, str],
) -> int:
    from scoring import news
    from scoring.metrics import merge
    from scoring.process import Settings, run
    from scoring.quarantine import Quarantine
    from scoring.supervision.hooks import Hooks
    from scoring.supervision.supervisor import Supervisor

    _preload(generation)
    quarantine = Quarantine()
    settings = Settings(config, found, quarantine)
    host, port = listeners[0].getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    def on_ready() -> None:
        # One write, unlike print under PYTHONUNBUFFERED: another process may print between two.
        sys.stderr.write(f"Listening on http://{shown}:{port}\n")
        sys.stderr.flush()

    print(found.text, file=sys.stderr, flush=True)
    hooks = Hooks(
        child_main=lambda generation, link: run(generation, link, settings),
        reload=lambda: _generation(where(), script, environ),
        on_ready=on_ready,
        fold=lambda past, snapshot: merge([past, snapshot]),
        on_death=lambda bodies, was_alone: news.judge(bodies, was_alone, quarantine),
        on_tell=lambda payload: news.take(payload, 0, quarantine),
        is_exclusive=lambda generation: generation.is_exclusive,
    )
    supervisor = Supervisor(
        listeners, generation, hooks, processes=found.processes, drain_s=config.drain_s
    )
    return supervisor.run()


def _generation(
    what: Path, script: Mapping[str, str] | None, environ: Mapping[str, str]
) -> Generation:
    """Open what is served. Raises BundleError and ConfigError."""
    from scoring.process import Generation

    if script is not None:
        read_config(script)
        return Generation(None, script)
    bundle = open_bundle(what)
    if bundle.file.engine == SCRIPT:
        return Generation(bundle, environ)
    kind = find(bundle.file.engine)
    if bundle.model_file is None:
        raise BundleError(f"the bundle '{bundle.file.name}' has no model file to load")
    return Generation(bundle, environ, kind.is_exclusive)


def _plan(config: ServerConfig, generation: Generation) -> CpuPlan:
    is_script = generation.bundle is None or generation.bundle.file.engine == SCRIPT
    processes, workers = config.processes, config.workers
    if generation.is_exclusive:
        return _plan_of_one(config)
    if is_script and workers is not None:  # each process has its own
        processes = min(processes or 1, workers)
        workers = -(-workers // processes)
    elif not is_script and processes is None:
        processes, workers = workers, None
    return plan(
        len(os.sched_getaffinity(0)),
        read_quota(),
        is_script=is_script,
        processes=processes,
        workers=workers,
        threads=config.threads,
    )


def _plan_of_one(config: ServerConfig) -> CpuPlan:
    """For what one process can have. Raises ValueError where more are asked for."""
    for count in (config.processes, config.workers):
        if count is not None and count > 1:
            raise ValueError(f"one server process can have the board, not {count}")
    cpus, quota = len(os.sched_getaffinity(0)), read_quota()
    found = plan(cpus, quota, is_script=False, processes=1, threads=config.threads)
    head = found.text.partition(": ")[0]
    return replace(found, text=f"{head}: 1 server process, as one at a time can have the board")


def _preload(generation: Generation) -> None:
    """Import what the forked processes need, once for all of them. (Other engines are already.)"""
    if generation.bundle is not None and generation.bundle.file.engine == ONNX:
        from scoring.onnx_engine import preload

        preload()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError saying which address is taken and what to do.

    The protocol is named because asyncio sets TCP_NODELAY only where it is (base_events.py); else
    each answer waits 40 ms for the client's delayed ACK."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise OSError(f"cannot listen on {host}:{port}: {reason}; choose another --port") from error
    return listener
