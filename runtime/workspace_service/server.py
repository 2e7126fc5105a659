"""The process that serves a site: ``inferry registry serve``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry.distribution import Distribution
from runtime.activity_hooks import deliveries
from runtime.fpga_compiler.process import CompileLimits
from runtime.registry_service.config import ServiceConfig
from runtime.registry_service.server import serve as serve_app
from runtime.workspace_service.service import MakePart, ServiceApp, print_line
from runtime.workspace_service.site import Site
from runtime.workspace_service.work import MakeWork, NoWork


def serve(
    roots: dict[str, Path],
    config: ServiceConfig,
    say: Callable[[str], None],
    *,
    allows_internal: bool = False,
    allows_local_code: bool = True,
    work: MakeWork = lambda site: NoWork(),
    compile_limits: CompileLimits | None = None,
    portal: MakePart | None = None,
) -> None:
    """Serve the workspaces, by name, until SIGTERM or SIGINT; then finish what is under way.
    ``allows_internal``, ``allows_local_code``, ``work``, ``compile_limits``: see Site; ``portal``:
    see ServiceApp.
    Raises BadValueError when it must not or cannot listen there, and NoWorkspaceError."""
    site = Site(
        roots,
        allows_internal=allows_internal,
        allows_local_code=allows_local_code,
        work=work,
        compile_limits=compile_limits,
    )
    log = print_line if config.has_access_log else None
    app = ServiceApp(site, config, log, portal=portal)
    try:
        serve_app(
            app,
            config,
            say,
            has_tokens=site.needs_tokens(),
            work=[
                *(_expiry(each) for each in site.distributions.values()),
                *(deliveries(site.workspace(name), site.closing) for name in site.names),
            ],
            closing=site.closing.set,
        )
    finally:
        site.closing.set()
        site.work.close()
        app.close()


def _expiry(distribution: Distribution) -> Callable[[], None]:
    def expire() -> None:
        distribution.uploads.expire()

    return expire
