"""A service on a free port of this machine, in a thread of the test's process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from registry import Workspace
from runtime.fpga_compiler import CompileLimits
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.protocol import RegistryProtocol
from runtime.remote import RemoteWorkspace, parse_place
from runtime.remote.client import ServiceClient
from runtime.run_service import RunService
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Served:
    """``url`` is the service's root."""

    url: str
    site: Site

    def local(self, name: str = "default") -> Workspace:
        """The workspace itself."""
        return self.site.workspace(name)

    def remote(self, name: str = "", token: str | None = None) -> RemoteWorkspace:
        """The same, by its URL; to be used in a ``with`` block."""
        place = parse_place(f"{self.url}/{name}" if name else self.url)
        return RemoteWorkspace(str(place), client=ServiceClient(place, token=token))


@contextmanager
def serving(
    roots: Mapping[str, Path],
    *,
    cert: Path | None = None,
    key: Path | None = None,
    allows_local_code: bool = True,
    compile_limits: CompileLimits | None = None,
) -> Iterator[Served]:
    """The workspaces at these folders, which are made if they are not there. With ``cert`` and
    ``key``, over TLS."""
    for root in roots.values():
        Workspace.init(root, base="none")
    site = Site(
        roots,
        allows_local_code=allows_local_code,
        work=RunService,
        compile_limits=compile_limits,
    )
    app = ServiceApp(site, ServiceConfig())
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop="asyncio",
        http=RegistryProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="served")
    thread.start()
    try:
        scheme = "http" if cert is None else "https"
        yield Served(f"{scheme}://127.0.0.1:{_port(server)}", site)
    finally:
        site.closing.set()
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        site.work.close()
        app.close()


def _port(server: uvicorn.Server) -> int:
    end = time.monotonic() + DEADLINE_S
    while not server.started:
        assert time.monotonic() < end, "the service did not start"
        time.sleep(0.005)
    return int(server.servers[0].sockets[0].getsockname()[1])
