"""The databases of a service: kept open, of the file that is there now, and let go in the end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from registry import Workspace
from registry.paths import WorkspacePaths
from runtime.registry_service.config import ServiceConfig
from runtime.workspace_service.service import ServiceApp
from runtime.workspace_service.site import Site
from tests.runtime.workspace_service.asked import ask

DATASTORE = "/api/v1/workspaces/default/default-datastore"


def _opened(database: Path) -> int:
    """How often this process has the file open."""
    names = (os.path.realpath(each) for each in Path("/proc/self/fd").iterdir())
    return sum(name == str(database.resolve()) for name in names)


def test_a_request_opens_no_connection_and_the_end_closes_those_that_were_kept(
    tmp_path: Path,
) -> None:
    site = Site({"default": Workspace.init(tmp_path / "ws", base="none").root})
    app = ServiceApp(site, ServiceConfig())
    database = WorkspacePaths(tmp_path / "ws").database
    workspace = site.workspace("default")
    workspace.datastores.list()
    kept = _opened(database)
    for _ in range(5):
        workspace.datastores.list()
    assert _opened(database) == kept > 0
    app.close()
    assert _opened(database) == kept - 1
    assert [each.name for each in workspace.datastores.list()] == ["workspace"]
    assert _opened(database) == kept - 1


def test_a_workspace_that_was_put_in_the_place_of_another_is_served(tmp_path: Path) -> None:
    root = Workspace.init(tmp_path / "ws", base="none").root
    app = ServiceApp(Site({"default": root}), ServiceConfig())
    assert ask(app, "GET", DATASTORE).json()["name"] == "workspace"
    other = Workspace.init(tmp_path / "other", base="none")
    (tmp_path / "store").mkdir()
    other.datastores.attach("lab", "file", {"path": str(tmp_path / "store")})
    other.datastores.set_default("lab")
    shutil.rmtree(root)
    (tmp_path / "other").rename(root)
    assert ask(app, "GET", DATASTORE).json()["name"] == "lab"
    app.close()
