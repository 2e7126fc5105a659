"""The life of one scoring server process: start, run, drain, stop.

exit_code = serve(config)                 # a bundle, a model folder or an .onnx file
exit_code = serve(config, service=...)    # a service made elsewhere (azmlinfsrv)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from scoring.azure.config import ConfigError
from scoring.bundle import open_bundle
from scoring.config import ServerConfig
from scoring.errors import BundleError, ModelLoadError, ScoringError, ScriptLoadError
from scoring.http.app import App, create_app
from scoring.http.protocol import BoundedProtocol
from scoring.service import Service, bundle_service

logger = logging.getLogger("scoring")

BACKLOG = 2048
LOAD_FAILED_EXIT = 3
"""Exit code when the model or script does not load (the reference's: serving.md, section 2.2)."""


def serve(config: ServerConfig, service: Service | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Says what is wrong in one line."""
    try:
        if service is None:
            service = bundle_service(open_bundle(config.what), config, dict(os.environ))
        with contextlib.ExitStack() as stack:
            ports = [config.port] + ([config.health_port] if config.health_port else [])
            sockets = [stack.enter_context(_listen(config.host, port)) for port in ports]
            return _run(_Process(service, config, sockets).main())
    except (BundleError, ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


class _Process:
    """Named phases of one server process."""

    def __init__(
        self, service: Service, config: ServerConfig, sockets: list[socket.socket]
    ) -> None:
        self._service = service
        self._sockets = sockets
        self._config = config
        asgi, self._app = create_app(service, config)
        self._server = _Server(_uvicorn_config(asgi, config), self._app)
        self._exit_code = 0

    async def main(self) -> int:
        """Listen first, so that liveness answers while the model loads; then load; then serve."""
        self._server.take_signals()
        loading = asyncio.create_task(self._load())
        try:
            await self._server.serve(sockets=self._sockets)
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await self._service.dispatcher.close()
        return self._exit_code

    async def _load(self) -> None:
        host, port = self._sockets[0].getsockname()[:2]
        try:
            await self._service.dispatcher.start()
        except (ModelLoadError, ScriptLoadError) as error:
            self._fail(_load_message(error))
        except ScoringError as error:
            self._fail(f"error: {error}")
        else:
            shown = f"[{host}]" if ":" in host else host
            print(f"Listening on http://{shown}:{port}", file=sys.stderr, flush=True)

    def _fail(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)
        self._exit_code = LOAD_FAILED_EXIT
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's server, except that a signal asked for is a clean end with exit code 0."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    def take_signals(self) -> None:
        """SIGTERM and SIGINT drain; a second one gives up waiting."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would take the signals itself and raise them again at the end."""
        yield

    def _on_signal(self) -> None:
        self._app.is_draining = True
        self.force_exit = self.should_exit
        self.should_exit = True


def _uvicorn_config(app: object, config: ServerConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=BoundedProtocol,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=int(config.drain_s),
        timeout_keep_alive=75,
        backlog=BACKLOG,
    )


def _run(main: object) -> int:
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return int(runner.run(main))  # type: ignore[arg-type]


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: the standard loop serves as well
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()  # type: ignore[no-any-return]


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


def _load_message(error: ModelLoadError | ScriptLoadError) -> str:
    if isinstance(error, ScriptLoadError):
        return f"error: the scoring script failed ({error.stage}): {error}"
    return f"error: the model does not load: {error}"
