"""The workspaces that one service has, by name; the first is the default one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry import Workspace
from registry.audit import Audit
from registry.distribution import Distribution
from registry.kept_database import KeptDatabase
from registry.names import check_name
from registry.paths import WorkspacePaths
from registry.remote import addresses
from runtime.datastores.reach import Resolve
from runtime.errors import BadValueError
from runtime.fpga_compiler.process import CompileLimits
from runtime.workspace_service.events import Events
from runtime.workspace_service.faults import Fault
from runtime.workspace_service.jobs import Jobs
from runtime.workspace_service.opened_datastores import OpenDatastores
from runtime.workspace_service.work import MakeWork, NoWork, Work

DEFAULT_NAME = "default"


class Site:
    """Opened once, for all requests; ``roots`` are workspaces by name. ``allows_internal``: clients
    may send the service to addresses that are not public; ``allows_local_code``: their scripts and
    deployments may run on its own machine. ``work`` makes what carries out runs;
    ``resolve`` looks up hosts that clients name; ``compile_limits``: of compiling one model for an
    FPGA. Raises NoWorkspaceError."""

    def __init__(
        self,
        roots: Mapping[str, Path],
        *,
        allows_internal: bool = False,
        allows_local_code: bool = True,
        work: MakeWork = lambda site: NoWork(),
        resolve: Resolve = addresses.resolve,
        compile_limits: CompileLimits | None = None,
    ) -> None:
        if not roots:
            raise BadValueError("a service needs a workspace")
        opened = {name: Workspace.open(root).root for name, root in roots.items()}
        self._databases = {
            name: KeptDatabase(WorkspacePaths(root).database) for name, root in opened.items()
        }
        self._workspaces = {
            name: Workspace(root, database=self._databases[name]) for name, root in opened.items()
        }
        self.distributions = {
            name: Distribution.open(workspace.root) for name, workspace in self._workspaces.items()
        }
        self.audits = {name: Audit(database) for name, database in self._databases.items()}
        self.default = next(iter(roots))
        self.allows_internal = allows_internal
        self.allows_local_code = allows_local_code
        self.resolve = resolve
        self.compile_limits = compile_limits or CompileLimits()

        self.datastores = OpenDatastores([each.root for each in self._workspaces.values()], resolve)
        self.hidden = {str(each.root): "(workspace)" for each in self._workspaces.values()}
        """What no client is told, and what stands in its place."""
        self.closing = threading.Event()
        """Set when the service ends: whoever streams stops."""
        self.jobs = Jobs(self.closing)
        self.events = Events(self._workspaces, self.closing)
        self.work: Work = work(self)

    @property
    def names(self) -> Sequence[str]:
        """Of all workspaces, the default one first."""
        return tuple(self._workspaces)

    def workspace(self, name: str) -> Workspace:
        """Raises Fault 404."""
        found = self._workspaces.get(name)
        if found is None:
            raise Fault(404, "no_workspace", "there is no such workspace here")
        return found

    def close(self) -> None:
        """Let go of databases and datastores; what is asked all the same opens them for itself."""
        self.datastores.close()
        for database in self._databases.values():
            database.close()

    def audit(self, name: str) -> Audit:
        """That of the workspace; what is about the service is in the default one's."""
        return self.audits[name or self.default]

    def needs_tokens(self) -> bool:
        """Whether every workspace ever had a token."""
        return all(each.tokens.are_needed() for each in self.distributions.values())


def read_roots(given: Sequence[str]) -> dict[str, Path]:
    """Workspaces as ``inferry registry serve -w`` names them: ``FOLDER`` or ``NAME=FOLDER``. The
    name of a folder without one is ``default`` for the first, and the folder's own (that of the
    folder above for ``.inferry``) for the others. Raises BadValueError, InvalidNameError."""
    roots: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.rpartition("=")
        path = Path(folder if equals else text).resolve()
        if not equals:
            own = path.parent.name if path.name == ".inferry" else path.name
            name = own if roots else DEFAULT_NAME
        check_name(name, "name of a workspace")
        if name in roots:
            raise BadValueError(f"two workspaces are called '{name}'; say NAME=FOLDER")
        roots[name] = path
    return roots
